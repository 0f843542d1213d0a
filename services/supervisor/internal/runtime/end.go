package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// ErrEnded is returned by Signal and Stop if the process has ended or never existed. Its exit can
// still be unknown.
var ErrEnded = errors.New("the container's process has ended")

// Signal sends a signal to a container's init process.
func (d *Driver) Signal(_ context.Context, uid string, sig syscall.Signal) error {
	c := d.get(uid)
	if c == nil || c.ended() {
		return ErrEnded
	}
	switch err := c.init.signal(sig); {
	case errors.Is(err, os.ErrProcessDone):
		return ErrEnded
	case err != nil:
		return fault.New(fault.Invalid, subject(uid), "cannot send the signal", fault.WithField("signal"),
			fault.WithCause(err))
	}
	return nil
}

// Pause freezes the processes of a container.
func (d *Driver) Pause(ctx context.Context, uid string) error {
	if _, err := d.running(uid); err != nil {
		return err
	}
	if err := d.cgroup(uid).Freeze(ctx, uid); err != nil {
		return fault.New(fault.Internal, subject(uid), "cannot be paused",
			fault.WithCause(errors.Join(err, d.cgroup(uid).Thaw(uid))))
	}
	return nil
}

// Unpause thaws the processes of a container.
func (d *Driver) Unpause(_ context.Context, uid string) error {
	if _, err := d.running(uid); err != nil {
		return err
	}
	err := d.cgroup(uid).Thaw(uid)
	return fault.Wrap(err, fault.Internal, subject(uid), "cannot be unpaused")
}

// Stop sends a signal that is meant to end the process. It thaws a frozen cgroup, so that the
// process receives the signal.
func (d *Driver) Stop(ctx context.Context, uid string, sig syscall.Signal) error {
	if err := d.Signal(ctx, uid, sig); err != nil {
		return err
	}
	d.thaw(uid)
	return nil
}

func (d *Driver) thaw(uid string) {
	at := d.cgroup(uid).Frozen(uid)
	if at == "" {
		return
	}
	d.cfg.Log.Info("container cgroup frozen, thawing it to stop the container", "container", uid, "cgroup", at)
	if err := d.cgroup(uid).Thaw(uid); err != nil {
		d.cfg.Log.Warn("cannot thaw the container cgroup", "container", uid, "error", err)
	}
}

// The stages of Kill, each counted from the end of the one before.
const (
	readTime    = time.Second     // for clients to read the last output of a killed process
	monitorTime = 2 * time.Second // for the monitor to record the exit after its clients are disconnected
	lookAgain   = 100 * time.Millisecond
)

// Kill ends a container's process and returns when its exit is known. It thaws a frozen cgroup,
// continues a stopped monitor, disconnects clients that do not read, and kills a monitor that does
// not record the exit. If the process does not end, the error states why. Kill does nothing if the
// container is not running.
func (d *Driver) Kill(ctx context.Context, uid string) error {
	c := d.get(uid)
	if c == nil || c.ended() {
		return nil
	}

	_ = c.init.signal(syscall.SIGKILL)
	d.thaw(uid)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	began, died := time.Now(), time.Time{}
	for hungUp := false; ; {
		if died.IsZero() && !c.init.alive() {
			died = time.Now()
		}
		switch {
		case died.IsZero() && time.Since(began) > killTime:
			return d.stuck(c)
		case died.IsZero():
		case time.Since(died) > readTime && !hungUp:
			hungUp = true
			c.console.Disconnect()
		case time.Since(died) > readTime+monitorTime && c.monitor != nil && c.monitor.alive():
			d.cfg.Log.Warn("monitor did not record the exit, killing the monitor",
				"container", uid, "pid", c.record.Monitor)
			_ = c.monitor.signal(syscall.SIGKILL)
		case time.Since(died) > killTime:
			return fault.New(fault.Busy, subject(uid), "process has ended, but its exit is not known",
				fault.WithHint("report this as a bug"))
		}
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			c.wakeMonitor()
		}
	}
}

// wakeMonitor continues a stopped monitor whose process has ended.
func (c *container) wakeMonitor() {
	if c.monitor != nil && !c.init.alive() && procstat.IsStopped(c.record.Monitor) {
		_ = c.monitor.signal(syscall.SIGCONT)
	}
}

// stuck returns a fault that explains why SIGKILL does not end a process.
func (d *Driver) stuck(c *container) error {
	text := fmt.Sprintf("process %d still exists %s after SIGKILL", c.record.PID, killTime)
	if at := d.cgroup(c.id).Frozen(c.id); at != "" {
		return fault.New(fault.Busy, subject(c.id), text, fault.WithHint("thaw the cgroup %s", at))
	}

	switch state := procstat.State(c.record.PID); state {
	case "D":
		return fault.New(fault.Busy, subject(c.id), text,
			fault.WithHint("it may hang on disk or network I/O; see /proc/%d/stack", c.record.PID))
	case "t":
		return fault.New(fault.Busy, subject(c.id), text, fault.WithHint("detach the debugger that traces it"))
	default:
		return fault.New(fault.Busy, subject(c.id), text,
			fault.WithHint("it is in state %s; see /proc/%d/status", state, c.record.PID))
	}
}
