package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/fairlead/fairlead/proto/fault"
)

// Delete ends whatever a container still runs and removes everything that belongs to it. It needs nothing of it to be there, and is
// idempotent. It may take a while, and be called in the background.
func (d *Driver) Delete(ctx context.Context, uid string) error {
	d.mu.Lock()
	p, c := d.prepared[uid], d.containers[uid]
	d.mu.Unlock()
	if p != nil {
		p.Abort()
	}
	if c != nil {
		_ = d.Kill(ctx, uid) // if it does not end, its cgroup cannot be removed, which says so
	}
	rt := d.runtimeOf(uid, c)
	d.endMonitor(uid)
	err := errors.Join(
		d.forget(ctx, uid, rt),
		d.cfg.Cgroup.Remove(ctx, uid),
		os.RemoveAll(d.bundle(uid)),
		os.RemoveAll(d.exitFile(uid)))
	if err != nil {
		return fault.New(fault.Internal, subject(uid), "not all of its process could be removed", fault.WithCause(err))
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

// runtimeOf finds a container's runtime, if anything tells of it.
func (d *Driver) runtimeOf(uid string, c *container) *ociRuntime {
	if c != nil {
		return c.runtime
	}
	if r, err := readRecord(d.bundle(uid)); err == nil {
		if rt, err := d.byPath(r.Runtime); err == nil {
			return rt
		}
	}
	return nil
}

// forget removes what the runtime keeps of a container. For crun and runc that is a folder, beside the
// cgroup; others are asked.
func (d *Driver) forget(ctx context.Context, uid string, rt *ociRuntime) error {
	if rt != nil && rt.flavour == other {
		out, err := exec.CommandContext(ctx, rt.path, "--root", d.ociRoot(), "delete", "--force", uid).CombinedOutput()
		if err != nil {
			d.cfg.Log.Warn("the runtime cannot delete a container", "container", uid, "error", err, "said", string(out))
		}
	}
	return os.RemoveAll(d.runtimeState(uid))
}
