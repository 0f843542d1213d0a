package protoconv

import (
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

var mountTypes = map[containerv1.MountType]container.MountType{
	containerv1.MountType_MOUNT_TYPE_UNSPECIFIED: container.Bind,
	containerv1.MountType_MOUNT_TYPE_BIND:        container.Bind,
	containerv1.MountType_MOUNT_TYPE_VOLUME:      container.VolumeMount,
	containerv1.MountType_MOUNT_TYPE_TMPFS:       container.TmpfsMount,
	containerv1.MountType_MOUNT_TYPE_IMAGE:       container.ImageMount,
}

func mountsFromProto(in []*containerv1.Mount) ([]container.Mount, error) {
	var out []container.Mount
	for _, m := range in {
		kind, ok := mountTypes[m.GetType()]
		if !ok {
			return nil, fault.Invalidf("container", "mount", "mount type unknown: %d", m.GetType())
		}
		n := container.Mount{Type: kind, Source: m.GetSource(), Target: m.GetTarget(), ReadOnly: m.GetReadOnly(),
			Propagation: m.GetPropagation(), CreateSource: m.GetCreateSource(), NonRecursive: m.GetNonRecursive(),
			Subpath: m.GetSubpath(), NoCopy: m.GetNoCopy(), TmpfsSize: m.GetTmpfsSize(), TmpfsMode: m.TmpfsMode,
			TmpfsOptions: m.GetTmpfsOptions(), BindText: m.GetBindText()}
		if v := m.GetVolume(); v != nil {
			n.Volume = &container.VolumeOptions{Driver: v.GetDriver(), Options: v.GetOptions(), Labels: v.GetLabels()}
		}
		out = append(out, n)
	}

	return out, nil
}

func mountToProto(m container.Mount) *containerv1.Mount {
	out := &containerv1.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Propagation: m.Propagation,
		CreateSource: m.CreateSource, NonRecursive: m.NonRecursive, Subpath: m.Subpath, NoCopy: m.NoCopy,
		TmpfsSize: m.TmpfsSize, TmpfsMode: m.TmpfsMode, TmpfsOptions: m.TmpfsOptions, Anonymous: m.Anonymous,
		BindText: m.BindText}
	for wire, kind := range mountTypes {
		if kind == m.Type && wire != containerv1.MountType_MOUNT_TYPE_UNSPECIFIED {
			out.Type = wire
		}
	}
	if m.Type == container.Bind {
		out.HostPath = m.Source
	}
	if m.Volume != nil {
		out.Volume = &containerv1.VolumeOptions{Driver: m.Volume.Driver, Options: m.Volume.Options,
			Labels: m.Volume.Labels}
	}
	return out
}
