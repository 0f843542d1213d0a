package runtime

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// State is what Adopt finds of a container.
type State int

// The states.
const (
	Gone  State = iota + 1 // there is no trace of a run, or of one that never came to Start
	Alive                  // its process runs; OnExit will tell of its end
	Ended                  // its process has ended; OnExit will not tell
)

// AdoptResult is what Adopt found.
type AdoptResult struct {
	State State
	PID   int  // if Alive
	Exit  Exit // if Ended
}

// exitFileTimeout is how long a monitor may take from its process's end to the exit file.
const exitFileTimeout = 10 * time.Second

// Adopt takes a container back that another process of the agent launched.
func (d *Driver) Adopt(ctx context.Context, uid string) (AdoptResult, error) {
	if c := d.get(uid); c != nil && !c.ended() {
		return AdoptResult{State: Alive, PID: c.record.PID}, nil
	}
	if exit, ok := d.readExit(uid); ok {
		return AdoptResult{State: Ended, Exit: exit}, nil
	}
	r, err := readRecord(d.bundle(uid))
	if err != nil {
		r, err = d.rebuildRecord(uid, err)
	}
	if errors.Is(err, os.ErrNotExist) {
		return AdoptResult{State: Gone}, nil
	}
	var rt *ociRuntime
	if err == nil {
		rt, err = d.byPath(r.Runtime)
	}
	if err != nil {
		return AdoptResult{}, fault.New(fault.Internal, subject(uid), "what is known of its process cannot be read", fault.WithCause(err))
	}
	c := newContainer(uid, r, rt)
	if r.Monitor > 0 {
		if c.monitor, err = openProcessOf(r.Monitor, r.MonitorStarted); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return AdoptResult{}, err
		}
	}
	if c.init, err = openProcessOf(r.PID, r.Started); errors.Is(err, os.ErrProcessDone) {
		defer c.release()
		return d.collectExit(ctx, c), nil
	} else if err != nil {
		c.release()
		return AdoptResult{}, err
	}
	return d.reattach(c), nil
}

// reattach watches a container again whose process lives.
func (d *Driver) reattach(c *container) AdoptResult {
	if _, err := os.Stat(d.fifo(c.id)); err == nil {
		c.release()
		return AdoptResult{State: Gone} // it waits for a Start that never came
	}
	c.started.Store(true)
	d.mu.Lock()
	d.containers[c.id] = c
	d.mu.Unlock()
	go d.watch(c)
	return AdoptResult{State: Alive, PID: c.record.PID}
}

// collectExit answers for a process that has just ended, or ended with its monitor.
func (d *Driver) collectExit(ctx context.Context, c *container) AdoptResult {
	if c.monitor != nil {
		stop := context.AfterFunc(ctx, c.monitor.close)
		defer stop()
		c.monitor.waitFor(exitFileTimeout)
	}
	exit, ok := d.readExit(c.id)
	if !ok {
		exit = Exit{ID: c.id, Code: unknownCode, Unknown: true, OOM: d.oomKilled(c.id), At: time.Now()}
	}
	return AdoptResult{State: Ended, Exit: exit}
}
