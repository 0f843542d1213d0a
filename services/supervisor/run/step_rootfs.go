package run

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/saga"
)

// prepareRootfs mounts the image's layers under the container's own writable one. Undone, only the mount goes: what the
// container wrote stays until the container is removed.
func (l *launch) prepareRootfs(after string) saga.Step {
	return saga.Step{
		Name: prepareRootfs, After: needs(after),
		Do: func(ctx context.Context) (err error) {
			l.rootfs, err = l.r.RootFS.Mount(ctx, l.id, l.r.Images.LayerPaths(l.image))
			return err
		},
		Undo: func(context.Context) error { return l.r.RootFS.Unmount(l.id) },
	}
}

// needs is an After list of the steps that are named.
func needs(steps ...string) []string {
	var out []string
	for _, s := range steps {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
