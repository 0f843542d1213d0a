package container

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// MountType is the kind of a mount.
type MountType string

// Mount types. The empty type is a bind mount.
const (
	Bind        MountType = ""
	VolumeMount MountType = "volume"
	TmpfsMount  MountType = "tmpfs"
	ImageMount  MountType = "image"
)

// Mount is a mount in a container.
type Mount struct {
	Type   MountType `json:",omitempty"`
	Source string    // host path, name of a volume, or image; empty means a new anonymous volume
	Target string

	ReadOnly     bool
	Propagation  string // empty: rprivate
	CreateSource bool   // create a missing source as a directory, as -v does
	NonRecursive bool   `json:",omitempty"` // without the mounts below the source

	Subpath string         `json:",omitempty"` // of a volume or image
	NoCopy  bool           `json:",omitempty"` // leave an empty volume empty
	Volume  *VolumeOptions `json:",omitempty"` // how to create a missing volume; nil means the defaults

	BindText string `json:",omitempty"` // of -v, to be returned as given

	Anonymous bool   `json:",omitempty"` // the volume was created for this container
	ImageID   string `json:",omitempty"` // of an image mount

	TmpfsSize    int64    `json:",omitempty"` // bytes; 0 means half of the memory
	TmpfsMode    *uint32  `json:",omitempty"` // nil means 01777
	TmpfsOptions []string `json:",omitempty"`
}

// VolumeOptions describe a volume that is created with a container.
type VolumeOptions struct {
	Driver          string
	Options, Labels map[string]string
}

// IsVolume reports whether the mount is a volume.
func (m Mount) IsVolume() bool { return m.Type == VolumeMount }

// Volumes returns the names of the volumes of a container.
func (c *Container) Volumes() []string {
	var out []string
	for _, m := range c.Config.Mounts {
		if m.IsVolume() && !slices.Contains(out, m.Source) {
			out = append(out, m.Source)
		}
	}
	return out
}

// AnonymousVolumes returns the names of the volumes that were created for the container.
func (c *Container) AnonymousVolumes() []string {
	var out []string
	for _, m := range c.Config.Mounts {
		if m.IsVolume() && m.Anonymous && !slices.Contains(out, m.Source) {
			out = append(out, m.Source)
		}
	}
	return out
}

// Images returns the IDs of the images that the container uses.
func (c *Container) Images() []string {
	out := []string{c.ImageID}
	for _, m := range c.Config.Mounts {
		if m.ImageID != "" && !slices.Contains(out, m.ImageID) {
			out = append(out, m.ImageID)
		}
	}
	return out
}

// WithVolumesRemoved returns a copy whose anonymous volumes are removed with it, or not.
func (c *Container) WithVolumesRemoved(remove bool) *Container {
	n := *c
	n.RemoveVolumes = remove
	return &n
}

// MergeMounts returns the mounts of a container: its own, those of other containers, and a volume for
// each path of the image, in this precedence for one target. A target is mounted after its parents.
func MergeMounts(own, others []Mount, paths []string) []Mount {
	var out []Mount
	seen := map[string]bool{}
	add := func(m Mount) {
		if m.Target = path.Clean(m.Target); !seen[m.Target] {
			seen[m.Target] = true
			out = append(out, m)
		}
	}
	for _, m := range slices.Concat(own, others) {
		add(m)
	}
	for _, p := range slices.Sorted(slices.Values(paths)) {
		if path.IsAbs(p) && path.Clean(p) != "/" {
			add(Mount{Type: VolumeMount, Target: p})
		}
	}

	slices.SortStableFunc(out, func(a, b Mount) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	return out
}

// Shared returns the bind mounts and volumes of a container for another one, as --volumes-from.
func (c *Container) Shared(readOnly bool) []Mount {
	var out []Mount
	for _, m := range c.Config.Mounts {
		if m.Type == TmpfsMount || m.Type == ImageMount {
			continue
		}
		m.ReadOnly, m.NoCopy, m.Volume, m.CreateSource = m.ReadOnly || readOnly, true, nil, false
		m.BindText = ""
		out = append(out, m)
	}
	return out
}

var propagations = []string{"", "private", "rprivate", "shared", "rshared", "slave", "rslave"}

func (c *Config) validateMounts() error {
	seen := map[string]bool{}
	for _, m := range c.Mounts {
		target := path.Clean(m.Target)
		switch {
		case !path.IsAbs(m.Target):
			return fault.Invalidf(c.subject(), "volume", "the target path %q of a mount must be absolute", m.Target)
		case target == "/":
			return fault.Invalidf(c.subject(), "volume", "invalid specification: destination can't be '/'")
		case strings.ContainsRune(m.Source+m.Target+m.Subpath+m.BindText, 0):
			return fault.Invalidf(c.subject(), "volume", "a path of a mount contains a NUL byte")
		case seen[target]:
			return fault.Invalidf(c.subject(), "volume", "Duplicate mount point: %s", target)
		}
		seen[target] = true
		if err := m.validate(c.subject()); err != nil {
			return err
		}
	}

	for _, spec := range c.VolumesFrom {
		if _, _, err := volume.ParseFrom(spec); err != nil {
			return err
		}
	}

	return nil
}

func (m Mount) validate(subject string) error {
	switch {
	case m.Type != TmpfsMount && (m.TmpfsSize != 0 || m.TmpfsMode != nil || len(m.TmpfsOptions) > 0):
		return fault.Invalidf(subject, "mount", "options of a tmpfs require the mount type tmpfs")
	case m.Type != Bind && (m.Propagation != "" || m.CreateSource || m.NonRecursive):
		return fault.Invalidf(subject, "mount", "options of a bind mount require the mount type bind")
	case m.Type != VolumeMount && (m.NoCopy && m.Type != Bind || m.Volume != nil):
		return fault.Invalidf(subject, "mount", "options of a volume require the mount type volume")
	case m.BindText != "" && m.Type != Bind && m.Type != VolumeMount:
		return fault.Invalidf(subject, "mount", "the text of -v requires the mount type bind or volume")
	case m.Subpath != "" && (path.IsAbs(m.Subpath) || path.Clean("/"+m.Subpath) != "/"+path.Clean(m.Subpath)):
		return fault.Invalidf(subject, "mount", "the subpath %q must be relative and inside of the volume or image",
			m.Subpath)
	}

	switch m.Type {
	case Bind:
		return m.validateBind(subject)
	case VolumeMount:
		return m.validateVolume(subject)
	case TmpfsMount:
		return m.validateTmpfs(subject)
	case ImageMount:
		if m.Source == "" {
			return fault.Invalidf(subject, "mount", "source is required for an image mount")
		}
		return nil
	}

	return fault.Invalidf(subject, "mount", "mount type unknown: %q", m.Type)
}

func (m Mount) validateBind(subject string) error {
	switch {
	case !path.IsAbs(m.Source):
		return fault.Invalidf(subject, "volume", "the source path %q of a bind mount must be absolute", m.Source)
	case m.Subpath != "":
		return fault.Invalidf(subject, "mount", "a bind mount has no subpath")
	case !slices.Contains(propagations, m.Propagation):
		return fault.Invalidf(subject, "volume", "invalid propagation mode %q; one of %s", m.Propagation,
			strings.Join(propagations[1:], ", "))
	}
	return nil
}

func (m Mount) validateVolume(subject string) error {
	if m.Source == "" {
		if m.Subpath != "" {
			return fault.Invalidf(subject, "mount", "must not set Subpath when using anonymous volumes")
		}
	} else if err := volume.ValidateName(m.Source); err != nil {
		return err
	}

	if o := m.Volume; o != nil {
		_, err := volume.New(cmp.Or(m.Source, "anonymous"), o.Driver, o.Options, o.Labels,
			time.Time{})
		return err
	}

	return nil
}

func (m Mount) validateTmpfs(subject string) error {
	switch {
	case m.Source != "":
		return fault.Invalidf(subject, "mount", "a tmpfs mount must not have a source")
	case m.Subpath != "":
		return fault.Invalidf(subject, "mount", "a tmpfs mount has no subpath")
	case m.TmpfsSize < 0:
		return fault.Invalidf(subject, "mount", "the size of a tmpfs must not be negative")
	case m.TmpfsMode != nil && *m.TmpfsMode > 0o7777:
		return fault.Invalidf(subject, "mount", "the mode %o of a tmpfs exceeds 7777", *m.TmpfsMode)
	}

	for _, o := range m.TmpfsOptions {
		if name, _, _ := strings.Cut(o, "="); !slices.Contains(tmpfsOptions(), name) {
			return fault.New(fault.Invalid, subject, "Invalid tmpfs option [\""+o+"\"]", fault.WithField("tmpfs"),
				fault.WithHint("use one of %s", strings.Join(tmpfsOptions(), ", ")))
		}
	}

	return nil
}

// tmpfsOptions returns the mount options that a tmpfs accepts, as in Docker.
func tmpfsOptions() []string {
	return []string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime", "diratime", "nodiratime",
		"relatime", "norelatime", "strictatime", "nostrictatime", "rw", "ro", "sync", "async", "dirsync",
		"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"}
}
