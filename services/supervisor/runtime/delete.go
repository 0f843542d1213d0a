package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
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
		d.end(ctx, c)
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

// readTime is what clients get to read the last output of a container that is deleted while it runs.
const readTime = time.Second

// end kills a container's process, and waits until its end is known. Clients that do not read hold that up, and are cut off.
func (d *Driver) end(ctx context.Context, c *container) {
	if c.ended() {
		return
	}
	_ = c.init.signal(syscall.SIGKILL)
	for _, limit := range []time.Duration{readTime, killTime} {
		select {
		case <-c.done:
			return
		case <-ctx.Done():
			return
		case <-time.After(limit):
			c.hangUp()
		}
	}
}

func (d *Driver) exitKnown(uid string) bool {
	_, err := os.Stat(d.exitFile(uid))
	return err == nil
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
