package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
)

// Delete kills a container's processes and removes everything that belongs to it. It is idempotent
// and accepts containers of which only parts exist. It can take long and may run in the background.
func (d *Driver) Delete(ctx context.Context, uid string) error {
	d.mu.Lock()
	p, c := d.prepared[uid], d.containers[uid]
	d.mu.Unlock()
	if p != nil {
		p.Abort()
	}
	if c != nil {
		_ = d.Kill(ctx, uid) // if this fails, Cgroup.Remove fails too
	}

	rt := d.runtimeOf(uid, c)
	d.endMonitor(uid)
	groups := d.cgroup(uid)
	err := errors.Join(d.forget(ctx, uid, rt), groups.Remove(ctx, uid))
	if err == nil || groups.Parent == d.cfg.Cgroup.Parent { // otherwise a retry needs the recorded parent
		err = errors.Join(err, os.RemoveAll(d.bundle(uid)), os.RemoveAll(d.exitFile(uid)))
	}
	if err != nil {
		return fault.New(fault.Internal, subject(uid), "cannot remove all of its runtime state", fault.WithCause(err))
	}

	if c != nil {
		d.mu.Lock()
		delete(d.containers, uid)
		d.mu.Unlock()
		c.release()
	}

	return nil
}

func (d *Driver) exitKnown(uid string) bool {
	_, known := d.readExit(uid)
	return known
}

// runtimeOf returns a container's runtime, nil if it is not known.
func (d *Driver) runtimeOf(uid string, c *container) *oci.Program {
	if c != nil {
		return c.runtime
	}
	if r, err := readRecord(d.bundle(uid)); err == nil {
		if rt, err := d.programs.ByPath(r.Runtime); err == nil {
			return rt
		}
	}
	return nil
}

// forget removes the runtime's state of a container. That of crun and runc is a directory, besides
// the cgroup; other runtimes are called.
func (d *Driver) forget(ctx context.Context, uid string, rt *oci.Program) error {
	if rt != nil && rt.Flavor == oci.Other {
		out, err := exec.CommandContext(ctx, rt.Path, "--root", d.ociRoot(), "delete", "--force", uid).CombinedOutput()
		if err != nil {
			d.cfg.Log.Warn("the runtime cannot delete a container", "container", uid, "error", err, "output",
				string(out))
		}
	}
	return os.RemoveAll(d.runtimeState(uid))
}
