package launch

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// ReleaseTimeout bounds how long an unresponsive service delays an exit.
const ReleaseTimeout = 3 * time.Second

// relaunch returns the launch of a stored container, to start it or to undo its steps.
func (r *Launcher) relaunch(c *container.Container) *launch {
	l := r.newLaunch(Request{Config: c.Config}, "")
	l.id, l.name, l.process, l.c = c.ID, c.Config.Name, &c.Process, c
	l.fresh = c.StartedAt.IsZero()
	close(l.stored)
	return l
}

// Release releases addresses, names and ports of a container.
func (r *Launcher) Release(ctx context.Context, c *container.Container) error {
	return saga.Undo(ctx, ReleaseTimeout, r.relaunch(c).acquireSteps(""))
}

// Delete deletes the process and unmounts the rootfs of a container.
func (r *Launcher) Delete(ctx context.Context, c *container.Container) error {
	return saga.Undo(ctx, saga.UndoTimeout, r.relaunch(c).processSteps(""))
}

// RemoveFiles deletes a container's files. Its record must be deleted before or right after.
func (r *Launcher) RemoveFiles(uid string) error {
	return errors.Join(r.RootFS.Remove(uid), os.RemoveAll(r.Dir(uid)))
}

// ReleaseAll releases all resources of an owner, which need not be a stored container. Its process ends before
// its rules are removed. If it cannot be ended, its network is removed before.
func (r *Launcher) ReleaseAll(ctx context.Context, uid string) error {
	c := Placeholder(uid)
	err := r.Delete(ctx, c)
	l := r.relaunch(c)
	l.mayRun = err != nil
	return errors.Join(err, saga.Undo(ctx, ReleaseTimeout, l.acquireSteps("")))
}

// Placeholder returns a container for an owner of which only the ID is known. It may have published
// ports, an egress policy and shared memory.
func Placeholder(uid string) *container.Container {
	return &container.Container{ID: uid, Config: container.Config{Network: container.Network{PublishAll: true,
		Egress: []string{egress.Empty}},
		Namespaces: container.Namespaces{IPC: container.IPCShareable}}}
}
