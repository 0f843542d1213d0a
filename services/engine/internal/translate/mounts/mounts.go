// Package mounts translates the mounts of a container, in all of the forms that the API has. It performs
// no I/O.
package mounts

import (
	"cmp"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// The kinds of mounts in messages.
const (
	bind   = containerv1.MountType_MOUNT_TYPE_BIND
	volume = containerv1.MountType_MOUNT_TYPE_VOLUME
	tmpfs  = containerv1.MountType_MOUNT_TYPE_TMPFS
	image  = containerv1.MountType_MOUNT_TYPE_IMAGE
)

// Request holds the mounts of a request.
type Request struct {
	Binds   []string
	Mounts  []mount.Mount
	Tmpfs   map[string]string
	Volumes map[string]struct{} // targets of anonymous volumes
	Driver  string              // of the volumes in Binds and Volumes
}

// ToProto converts all mounts. An anonymous volume is omitted if another mount has its target.
func ToProto(r Request) ([]*containerv1.Mount, error) {
	var all []*containerv1.Mount
	for _, text := range r.Binds {
		m, err := bindToProto(text, r.Driver)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	for _, given := range r.Mounts {
		m, err := mountToProto(given)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	for _, target := range slices.Sorted(maps.Keys(r.Tmpfs)) {
		m := &containerv1.Mount{Type: tmpfs, Target: target}
		if options := r.Tmpfs[target]; options != "" {
			m.TmpfsOptions = strings.Split(options, ",")
		}
		all = append(all, m)
	}
	for _, target := range slices.Sorted(maps.Keys(r.Volumes)) {
		if target = path.Clean(target); !slices.ContainsFunc(all, hasTarget(target)) {
			all = append(all, &containerv1.Mount{Type: volume, Target: target, Volume: driver(r.Driver)})
		}
	}
	return all, check(all)
}

func hasTarget(target string) func(*containerv1.Mount) bool {
	return func(m *containerv1.Mount) bool { return path.Clean(m.GetTarget()) == target }
}

// check rejects two mounts with one target.
func check(all []*containerv1.Mount) error {
	seen := map[string]bool{}
	for _, m := range all {
		if !path.IsAbs(m.GetTarget()) {
			return httpapi.Errorf(http.StatusBadRequest, "invalid mount config: invalid mount path: '%.200s' mount "+
				"path must "+
				"be absolute", m.GetTarget())
		}
		target := path.Clean(m.GetTarget())
		if target == "/" {
			return httpapi.Errorf(http.StatusBadRequest, "invalid specification: destination can't be '/'")
		}
		if seen[target] {
			return httpapi.Errorf(http.StatusBadRequest, "Duplicate mount point: %s", target)
		}
		seen[target], m.Target = true, target
	}
	return nil
}

// driver returns the options of a new volume, or nil for the defaults.
func driver(name string) *containerv1.VolumeOptions {
	if name == "" || name == "local" {
		return nil
	}
	return &containerv1.VolumeOptions{Driver: name}
}

// isHint reports whether a mode has no effect: SELinux labels and modes of Docker Desktop.
func isHint(mode string) bool {
	return slices.Contains([]string{"z", "Z", "cached", "delegated", "consistent", "default"}, mode)
}

// bindToProto converts SOURCE:TARGET[:MODES]. A source that is not a path is the name of a volume.
func bindToProto(text, driverName string) (*containerv1.Mount, error) {
	invalid := httpapi.Errorf(http.StatusBadRequest, "invalid volume specification: '%.200s'", text)
	parts := strings.Split(text, ":")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return nil, invalid
	}
	if len(parts) == 1 {
		return &containerv1.Mount{Type: volume, Target: parts[0], Volume: driver(driverName)}, nil
	}

	m := &containerv1.Mount{Type: volume, Source: parts[0], Target: parts[1], BindText: text}
	switch {
	case path.IsAbs(m.Source):
		m.Type, m.CreateSource, m.Source = bind, true, path.Clean(m.Source)
	case strings.HasPrefix(m.Source, "."):
		return nil, httpapi.Errorf(http.StatusBadRequest, "invalid volume specification: '%.200s': the source must "+
			"be an "+
			"absolute path or the name of a volume", text)
	default:
		m.Volume = driver(driverName)
	}
	if len(parts) == 3 {
		return m, modes(m, parts[2])
	}
	return m, nil
}

// modes sets the modes of a bind.
func modes(m *containerv1.Mount, list string) error {
	access := false
	for o := range strings.SplitSeq(list, ",") {
		switch {
		case (o == "ro" || o == "rw") && !access:
			access, m.ReadOnly = true, o == "ro"
		case m.Type == bind && slices.Contains(mount.Propagations, mount.Propagation(o)) && m.Propagation == "":
			m.Propagation = o
		case o == "nocopy" && m.Type == volume:
			m.NoCopy = true
		case isHint(o):
		default:
			return httpapi.Errorf(http.StatusBadRequest, "invalid mode: %.200s", list)
		}
	}
	return nil
}

// mountToProto converts an entry of HostConfig.Mounts.
func mountToProto(given mount.Mount) (*containerv1.Mount, error) {
	invalid := func(format string, args ...any) error {
		return httpapi.Errorf(http.StatusBadRequest, "invalid mount config for type %q: "+format,
			append([]any{given.Type}, args...)...)
	}
	m := &containerv1.Mount{Source: given.Source, Target: given.Target, ReadOnly: given.ReadOnly}
	if given.Target == "" {
		return nil, invalid("field Target must not be empty")
	}
	switch given.Type {
	case mount.TypeBind:
		if !path.IsAbs(given.Source) {
			return nil, invalid("invalid mount path: '%.200s' mount path must be absolute", given.Source)
		}
		m.Type, m.Source = bind, path.Clean(given.Source)
		if o := given.BindOptions; o != nil {
			m.Propagation, m.NonRecursive, m.CreateSource = string(o.Propagation), o.NonRecursive, o.CreateMountpoint
		}
	case mount.TypeVolume, "":
		m.Type = volume
		setVolume(m, given.VolumeOptions)
	case mount.TypeImage:
		m.Type = image
		if o := given.ImageOptions; o != nil {
			m.Subpath = o.Subpath
		}
	case mount.TypeTmpfs:
		m.Type = tmpfs
		if given.Source != "" {
			return nil, invalid("field Source must not be specified")
		}
		setTmpfs(m, given.TmpfsOptions)
	default:
		return nil, httpapi.Errorf(http.StatusBadRequest, "mount type unknown: %q", given.Type)
	}
	return m, nil
}

func setVolume(m *containerv1.Mount, o *mount.VolumeOptions) {
	if o == nil {
		return
	}
	m.NoCopy, m.Subpath = o.NoCopy, o.Subpath
	v := &containerv1.VolumeOptions{Labels: o.Labels}
	if d := o.DriverConfig; d != nil {
		v.Driver, v.Options = d.Name, d.Options
	}
	if cmp.Or(v.Driver, "local") != "local" || len(v.Options)+len(v.Labels) > 0 {
		m.Volume = v
	}
}

func setTmpfs(m *containerv1.Mount, o *mount.TmpfsOptions) {
	if o == nil {
		return
	}
	m.TmpfsSize = o.SizeBytes
	if o.Mode != 0 {
		mode := uint32(o.Mode)
		m.TmpfsMode = &mode
	}
	for _, words := range o.Options {
		m.TmpfsOptions = append(m.TmpfsOptions, strings.Join(words, "="))
	}
}
