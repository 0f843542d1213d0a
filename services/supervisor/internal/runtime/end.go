package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// ErrEnded is the answer of Signal and Stop when the container's process has ended, or never was. Its exit may not be known yet.
var ErrEnded = errors.New("the container's process has ended")

// Signal sends a signal to a container's first process.
func (d *Driver) Signal(_ context.Context, uid string, sig syscall.Signal) error {
	c := d.get(uid)
	if c == nil || c.ended() {
		return ErrEnded
	}
	switch err := c.init.signal(sig); {
	case errors.Is(err, os.ErrProcessDone):
		return ErrEnded
	case err != nil:
		return fault.New(fault.Invalid, subject(uid), "the signal cannot be sent", fault.WithField("signal"), fault.WithCause(err))
	}
	return nil
}

// Stop is Signal for one that is to end the process: a frozen cgroup is thawed, so that the process can take it.
func (d *Driver) Stop(ctx context.Context, uid string, sig syscall.Signal) error {
	if err := d.Signal(ctx, uid, sig); err != nil {
		return err
	}
	d.thaw(uid)
	return nil
}

func (d *Driver) thaw(uid string) {
	at := d.cfg.Cgroup.Frozen(uid)
	if at == "" {
		return
	}
	d.cfg.Log.Warn("the container's cgroup is frozen; thawing it to end the container", "container", uid, "cgroup", at)
	if err := d.cfg.Cgroup.Thaw(uid); err != nil {
		d.cfg.Log.Warn("the container's cgroup cannot be thawed", "container", uid, "error", err)
	}
}

// The stages of Kill, from the one before.
const (
	readTime    = time.Second     // clients have this to read the last output of what was killed
	monitorTime = 2 * time.Second // the monitor has this to note the exit once nobody holds it up
	lookAgain   = 100 * time.Millisecond
)

// Kill ends a container's process whatever holds it up, and returns when its exit is known: it thaws a frozen cgroup, continues a stopped
// monitor, cuts off clients that do not read, and ends a monitor that does not note the exit. It fails with a diagnosis if the process does
// not end. One that does not run is no error.
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
			c.closeAttachments()
		case time.Since(died) > readTime+monitorTime && c.monitor != nil && c.monitor.alive():
			d.cfg.Log.Warn("the monitor does not note that its process has ended; it is ended, too", "container", uid, "pid", c.record.Monitor)
			_ = c.monitor.signal(syscall.SIGKILL)
		case time.Since(died) > killTime:
			return fault.New(fault.Busy, subject(uid), "its process has ended, but its exit is not known", fault.WithHint("this is a fault of the agent"))
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

// wakeMonitor continues a monitor that somebody has stopped, if its process has ended.
func (c *container) wakeMonitor() {
	if c.monitor != nil && !c.init.alive() && stopped(c.record.Monitor) {
		_ = c.monitor.signal(syscall.SIGCONT)
	}
}

// stuck tells why SIGKILL does not end a process.
func (d *Driver) stuck(c *container) error {
	text := fmt.Sprintf("its process %d is still there %s after SIGKILL", c.record.PID, killTime)
	if at := d.cfg.Cgroup.Frozen(c.id); at != "" {
		return fault.New(fault.Busy, subject(c.id), text, fault.WithHint("cgroup %s is frozen; thaw it", at))
	}
	switch state, _ := processState(c.record.PID); state {
	case "D":
		return fault.New(fault.Busy, subject(c.id), text,
			fault.WithHint("it waits in the kernel, mostly for a disk or network file system; see /proc/%d/stack", c.record.PID))
	case "t":
		return fault.New(fault.Busy, subject(c.id), text, fault.WithHint("a debugger holds it; end that"))
	default:
		return fault.New(fault.Busy, subject(c.id), text, fault.WithHint("it is in state %s; see /proc/%d/status", state, c.record.PID))
	}
}
