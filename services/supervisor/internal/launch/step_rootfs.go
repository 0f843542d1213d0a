package launch

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/mountpoint"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// prepareRootfs mounts the image's layers and the writable layer. Undo unmounts and keeps the
// written data.
func (l *launch) prepareRootfs(after string) saga.Step {
	return saga.Step{
		Name: prepareRootfs, After: needs(after),
		Do: func(ctx context.Context) (err error) {
			if l.rootfs, err = l.r.RootFS.Mount(ctx, l.id, l.r.Images.LayerPaths(l.image)); err != nil {
				return err
			}
			l.targets, err = mountpoint.Prepare(l.rootfs, l.mountPoints())
			return err
		},
		Undo: func(context.Context) error { return l.r.RootFS.Unmount(l.id) },
	}
}

// mountPoints returns the mount points that the rootfs needs.
func (l *launch) mountPoints() mountpoint.Request {
	req := mountpoint.Request{WorkingDir: l.process.WorkingDir,
		NameFiles: []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}}
	for _, m := range l.req.Config.Mounts {
		req.Mounts = append(req.Mounts, mountpoint.Mount{Target: m.Target, File: isFile(m.Source)})
		req.NameFiles = slices.DeleteFunc(req.NameFiles, func(name string) bool { return name == m.Target })
	}
	if l.runsInit() { // the last one, see specOptions
		req.Mounts = append(req.Mounts, mountpoint.Mount{Target: spec.InitPath, File: true})
	}
	return req
}

// needs returns the names that are not empty.
func needs(steps ...string) []string {
	var out []string
	for _, s := range steps {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
