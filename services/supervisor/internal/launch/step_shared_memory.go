package launch

import (
	"context"
	"path/filepath"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/sharedmem"
)

// mountSharedMemory mounts the /dev/shm of a container with a shareable IPC namespace.
func (l *launch) mountSharedMemory(after string) saga.Step {
	return saga.Step{
		Name: mountSharedMemory, After: needs(after),
		Do: func(context.Context) error {
			return sharedmem.Mount(l.r.sharedMemory(l.id), l.req.Config.Resources.ShmSize)
		},
		Undo: func(context.Context) error { return sharedmem.Unmount(l.r.sharedMemory(l.id)) },
	}
}

// sharedMemory returns the directory of a container's /dev/shm on the host.
func (r *Launcher) sharedMemory(uid string) string { return filepath.Join(r.Dir(uid), "shm") }

// isShareable reports whether other containers can join the IPC namespace of the container.
func (l *launch) isShareable() bool { return l.req.Config.Namespaces.IPC == container.IPCShareable }
