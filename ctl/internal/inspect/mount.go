package inspect

import (
	"cmp"
	"strings"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

const (
	bindMount   = containerv1.MountType_MOUNT_TYPE_BIND
	volumeMount = containerv1.MountType_MOUNT_TYPE_VOLUME
	tmpfsMount  = containerv1.MountType_MOUNT_TYPE_TMPFS
	imageMount  = containerv1.MountType_MOUNT_TYPE_IMAGE
)

// mountType returns the type of a mount; an older agent has bind mounts only.
func mountType(m *containerv1.Mount) containerv1.MountType { return cmp.Or(m.GetType(), bindMount) }

var mountWords = map[containerv1.MountType]string{bindMount: "bind", volumeMount: "volume", tmpfsMount: "tmpfs",
	imageMount: "image"}

// MountOptions is a mount in the form of --mount.
type MountOptions struct {
	Type          string
	Source        string         `json:",omitempty"`
	Target        string         `json:",omitempty"`
	ReadOnly      bool           `json:",omitempty"`
	BindOptions   *BindOptions   `json:",omitempty"`
	VolumeOptions *VolumeOptions `json:",omitempty"`
	ImageOptions  *ImageOptions  `json:",omitempty"`
	TmpfsOptions  *TmpfsOptions  `json:",omitempty"`
}

// BindOptions are the options of a bind mount.
type BindOptions struct {
	Propagation  string `json:",omitempty"`
	NonRecursive bool   `json:",omitempty"`
}

// VolumeOptions are the options of a volume.
type VolumeOptions struct {
	NoCopy       bool              `json:",omitempty"`
	Labels       map[string]string `json:",omitempty"`
	Subpath      string            `json:",omitempty"`
	DriverConfig *DriverConfig     `json:",omitempty"`
}

// DriverConfig is the driver of a volume with its options.
type DriverConfig struct {
	Name    string            `json:",omitempty"`
	Options map[string]string `json:",omitempty"`
}

// ImageOptions are the options of an image mount.
type ImageOptions struct {
	Subpath string `json:",omitempty"`
}

// TmpfsOptions are the options of a tmpfs.
type TmpfsOptions struct {
	SizeBytes int64   `json:",omitempty"`
	Mode      *uint32 `json:",omitempty"`
}

// mountsOf returns the mounts in effect.
func mountsOf(cfg *containerv1.ContainerConfig) []Mount {
	out := []Mount{}
	for _, m := range cfg.GetMounts() {
		mount := Mount{Type: mountWords[mountType(m)], Source: cmp.Or(m.GetHostPath(), m.GetSource()),
			Destination: m.GetTarget(), RW: !m.GetReadOnly()}
		if m.GetReadOnly() {
			mount.Mode = "ro"
		}
		switch mountType(m) {
		case bindMount:
			mount.Propagation = cmp.Or(m.GetPropagation(), "rprivate")
		case volumeMount:
			mount.Name, mount.Driver = m.GetSource(), "local"
		case tmpfsMount:
			mount.Source = ""
		case imageMount:
			mount.RW = false
		}
		out = append(out, mount)
	}
	return out
}

// binds returns bind mounts and named volumes in the form of -v.
func binds(mounts []*containerv1.Mount) []string {
	out := []string{}
	for _, m := range mounts {
		if text := m.GetBindText(); text != "" {
			out = append(out, text)
			continue
		}
		kind := mountType(m)
		if kind != bindMount && kind != volumeMount || m.GetAnonymous() || hasOptions(m) {
			continue
		}
		var modes []string
		if m.GetReadOnly() {
			modes = append(modes, "ro")
		}
		if m.GetNoCopy() && kind == volumeMount {
			modes = append(modes, "nocopy")
		}
		if m.GetPropagation() != "" {
			modes = append(modes, m.GetPropagation())
		}

		s := m.GetSource() + ":" + m.GetTarget()
		if len(modes) > 0 {
			s += ":" + strings.Join(modes, ",")
		}
		out = append(out, s)
	}

	return out
}

// hasOptions reports whether -v cannot express a mount.
func hasOptions(m *containerv1.Mount) bool {
	return m.GetBindText() == "" && (m.GetVolume() != nil || m.GetSubpath() != "" || m.GetNonRecursive())
}

// mountOptions returns the mounts that -v cannot express.
func mountOptions(mounts []*containerv1.Mount) []MountOptions {
	var out []MountOptions
	for _, m := range mounts {
		kind := mountType(m)
		if (kind == bindMount || kind == volumeMount) && !hasOptions(m) || isPlainTmpfs(m) {
			continue
		}
		o := MountOptions{Type: mountWords[kind], Source: m.GetSource(), Target: m.GetTarget(),
			ReadOnly: m.GetReadOnly()}
		switch kind {
		case bindMount:
			o.BindOptions = &BindOptions{Propagation: m.GetPropagation(), NonRecursive: m.GetNonRecursive()}
		case volumeMount:
			v := m.GetVolume()
			o.VolumeOptions = &VolumeOptions{NoCopy: m.GetNoCopy(), Labels: v.GetLabels(), Subpath: m.GetSubpath()}
			if v.GetDriver() != "" || len(v.GetOptions()) > 0 {
				o.VolumeOptions.DriverConfig = &DriverConfig{Name: v.GetDriver(), Options: v.GetOptions()}
			}
		case imageMount:
			o.ImageOptions = &ImageOptions{Subpath: m.GetSubpath()}
		case tmpfsMount:
			o.TmpfsOptions = &TmpfsOptions{SizeBytes: m.GetTmpfsSize(), Mode: m.TmpfsMode}
		}
		out = append(out, o)
	}

	return out
}

// isPlainTmpfs reports whether --tmpfs can express a mount.
func isPlainTmpfs(m *containerv1.Mount) bool {
	return mountType(m) == tmpfsMount && m.GetTmpfsSize() == 0 && m.TmpfsMode == nil && !m.GetReadOnly()
}

// tmpfsOptions returns the options of the mounts that --tmpfs can express, by target; nil without
// any.
func tmpfsOptions(mounts []*containerv1.Mount) map[string]string {
	var out map[string]string
	for _, m := range mounts {
		if isPlainTmpfs(m) {
			if out == nil {
				out = map[string]string{}
			}
			out[m.GetTarget()] = strings.Join(m.GetTmpfsOptions(), ",")
		}
	}
	return out
}

// volumePaths returns the targets of anonymous volumes, as Config.Volumes; nil without any.
func volumePaths(mounts []*containerv1.Mount) map[string]struct{} {
	var out map[string]struct{}
	for _, m := range mounts {
		if mountType(m) == volumeMount && m.GetAnonymous() {
			if out == nil {
				out = map[string]struct{}{}
			}
			out[m.GetTarget()] = struct{}{}
		}
	}
	return out
}

// Volume is the document of a volume.
type Volume struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// FromVolume returns the document of a volume.
func FromVolume(v *containerv1.Volume) *Volume {
	return &Volume{CreatedAt: v.GetCreatedAt().AsTime().Format("2006-01-02T15:04:05Z07:00"), Driver: v.GetDriver(),
		Labels: v.GetLabels(), Mountpoint: v.GetMountpoint(), Name: v.GetName(), Options: v.GetOptions(),
		Scope: "local"}
}
