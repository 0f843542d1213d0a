package launch

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/bindsource"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/mountpoint"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
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
			points, err := l.mountPoints(ctx)
			if err != nil {
				return err
			}
			l.targets, err = mountpoint.Prepare(l.rootfs, points)
			return err
		},
		Undo: func(context.Context) error { return l.r.RootFS.Unmount(l.id) },
	}
}

// mountPoints returns the mount points that the rootfs needs.
func (l *launch) mountPoints(ctx context.Context) (mountpoint.Request, error) {
	req := mountpoint.Request{WorkingDir: l.process.WorkingDir,
		NameFiles: []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}}
	for i, m := range l.req.Config.Mounts {
		file, err := l.isFileMount(ctx, i, m)
		if err != nil {
			return req, err
		}
		req.Mounts = append(req.Mounts, mountpoint.Mount{Target: m.Target, File: file})
		req.NameFiles = slices.DeleteFunc(req.NameFiles, func(name string) bool { return name == m.Target })
	}
	if l.runsInit() { // the last one, see specOptions
		req.Mounts = append(req.Mounts, mountpoint.Mount{Target: spec.InitPath, File: true})
	}
	return req, nil
}

// isFileMount reports whether the source of a mount is not a directory. It waits for the mount of a
// volume of which only a subpath is mounted.
func (l *launch) isFileMount(ctx context.Context, i int, m container.Mount) (bool, error) {
	if m.Subpath == "" {
		return m.Type == container.Bind && bindsource.IsFile(m.Source), nil
	}
	select {
	case <-l.mounted:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	file, err := volumes.IsFile(l.sources[i], m.Subpath)
	if err != nil {
		err = subpathFault(m, err)
	}
	return file, err
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
