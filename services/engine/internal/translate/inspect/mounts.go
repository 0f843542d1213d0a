package inspect

import (
	"cmp"
	"os"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

var mountTypes = map[containerv1.MountType]mount.Type{
	containerv1.MountType_MOUNT_TYPE_UNSPECIFIED: mount.TypeBind,
	containerv1.MountType_MOUNT_TYPE_BIND:        mount.TypeBind,
	containerv1.MountType_MOUNT_TYPE_VOLUME:      mount.TypeVolume,
	containerv1.MountType_MOUNT_TYPE_TMPFS:       mount.TypeTmpfs,
	containerv1.MountType_MOUNT_TYPE_IMAGE:       mount.TypeImage,
}

// Mounts returns the mounts in effect. Docker does not list those of HostConfig.Tmpfs.
func Mounts(mounts []*containerv1.Mount) []container.MountPoint {
	out := []container.MountPoint{}
	for _, m := range mounts {
		if isPlainTmpfs(m) {
			continue
		}
		point := container.MountPoint{Type: mountTypes[m.GetType()], Source: cmp.Or(m.GetHostPath(), m.GetSource()),
			Destination: m.GetTarget(), RW: !m.GetReadOnly()}
		if parts := strings.SplitN(m.GetBindText(), ":", 3); len(parts) == 3 {
			point.Mode = parts[2]
		} else if m.GetReadOnly() {
			point.Mode = "ro"
		}
		switch point.Type {
		case mount.TypeBind:
			point.Propagation = mount.Propagation(cmp.Or(m.GetPropagation(), "rprivate"))
		case mount.TypeVolume:
			point.Name, point.Driver = m.GetSource(), cmp.Or(m.GetVolume().GetDriver(), "local")
			if !m.GetAnonymous() {
				point.Mode = cmp.Or(point.Mode, "z") // Docker's default for volumes that were named
			}
		case mount.TypeTmpfs:
			point.Source = ""
		case mount.TypeImage:
			point.RW = false
		}
		out = append(out, point)
	}
	return out
}

// binds returns bind mounts and named volumes in the form of -v, as they were requested; nil without any.
func binds(mounts []*containerv1.Mount) (out []string) {
	for _, m := range mounts {
		if text := m.GetBindText(); text != "" {
			out = append(out, text)
			continue
		}
		if !isBind(m) {
			continue
		}
		var modes []string
		if m.GetReadOnly() {
			modes = append(modes, "ro")
		}
		if m.GetNoCopy() {
			modes = append(modes, "nocopy")
		}
		if m.GetPropagation() != "" {
			modes = append(modes, m.GetPropagation())
		}
		text := m.GetSource() + ":" + m.GetTarget()
		if len(modes) > 0 {
			text += ":" + strings.Join(modes, ",")
		}
		out = append(out, text)
	}
	return out
}

// isBind reports whether -v expresses a mount.
func isBind(m *containerv1.Mount) bool {
	if m.GetBindText() != "" {
		return true
	}
	if m.GetVolume() != nil || m.GetSubpath() != "" || m.GetNonRecursive() || m.GetAnonymous() {
		return false
	}
	switch mountTypes[m.GetType()] {
	case mount.TypeBind:
		return m.GetCreateSource()
	case mount.TypeVolume:
		return m.GetSource() != ""
	}
	return false
}

// mountOptions returns the mounts that -v and --tmpfs do not express.
func mountOptions(mounts []*containerv1.Mount) (out []mount.Mount) {
	for _, m := range mounts {
		if isBind(m) || isPlainTmpfs(m) || m.GetAnonymous() && m.GetVolume() == nil && m.GetSubpath() == "" {
			continue
		}
		o := mount.Mount{Type: mountTypes[m.GetType()], Source: m.GetSource(), Target: m.GetTarget(),
			ReadOnly: m.GetReadOnly()}
		switch o.Type {
		case mount.TypeBind:
			if b := (mount.BindOptions{Propagation: mount.Propagation(m.GetPropagation()),
				NonRecursive: m.GetNonRecursive(), CreateMountpoint: m.GetCreateSource()}); b != (mount.BindOptions{}) {
				o.BindOptions = &b
			}
		case mount.TypeVolume:
			o.VolumeOptions = volumeOptions(m)
		case mount.TypeImage:
			o.ImageOptions = &mount.ImageOptions{Subpath: m.GetSubpath()}
		case mount.TypeTmpfs:
			o.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: m.GetTmpfsSize(), Mode: os.FileMode(m.GetTmpfsMode())}
			for _, option := range m.GetTmpfsOptions() {
				o.TmpfsOptions.Options = append(o.TmpfsOptions.Options, strings.SplitN(option, "=", 2))
			}
		}
		out = append(out, o)
	}
	return out
}

func volumeOptions(m *containerv1.Mount) *mount.VolumeOptions {
	v := m.GetVolume()
	out := &mount.VolumeOptions{NoCopy: m.GetNoCopy(), Labels: v.GetLabels(), Subpath: m.GetSubpath()}
	if v.GetDriver() != "" || len(v.GetOptions()) > 0 {
		out.DriverConfig = &mount.Driver{Name: v.GetDriver(), Options: v.GetOptions()}
	}
	return out
}

// isPlainTmpfs reports whether --tmpfs expresses a mount.
func isPlainTmpfs(m *containerv1.Mount) bool {
	return mountTypes[m.GetType()] == mount.TypeTmpfs && m.GetTmpfsSize() == 0 && m.TmpfsMode == nil && !m.GetReadOnly()
}

// tmpfsOptions returns the mounts of --tmpfs by target; nil without any.
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

// volumes returns the targets of anonymous volumes; nil without any.
func volumes(mounts []*containerv1.Mount) map[string]struct{} {
	var out map[string]struct{}
	for _, m := range mounts {
		if mountTypes[m.GetType()] == mount.TypeVolume && m.GetAnonymous() {
			if out == nil {
				out = map[string]struct{}{}
			}
			out[m.GetTarget()] = struct{}{}
		}
	}
	return out
}
