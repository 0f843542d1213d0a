package runtime

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
)

// State is the state of a container that Adopt found.
type State int

// The states.
const (
	Gone  State = iota + 1 // no process, or one that was created but never started
	Alive                  // the process runs; OnExit will be called
	Ended                  // the process has ended; OnExit will not be called
)

// AdoptResult is the result of Adopt.
type AdoptResult struct {
	State State
	PID   int  // if Alive
	Exit  Exit // if Ended
}

// exitFileTimeout limits the time from a process's end until its monitor has written the exit file.
const exitFileTimeout = 10 * time.Second

// Adopt resumes supervision of a container that an earlier agent process launched.
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

	var rt *oci.Program
	if err == nil {
		rt, err = d.programs.ByPath(r.Runtime)
	}
	if err != nil {
		return AdoptResult{}, fault.New(fault.Internal, subject(uid), "cannot read the process record",
			fault.WithCause(err))
	}

	c := d.newContainer(uid, r, rt)
	if r.Monitor > 0 {
		if c.monitor, err = openProcessOf(r.Monitor, r.MonitorStarted); err != nil &&
			!errors.Is(err, os.ErrProcessDone) {
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

// reattach resumes watching a container whose process is alive.
func (d *Driver) reattach(c *container) AdoptResult {
	if _, err := os.Stat(d.fifo(c.id)); err == nil {
		c.release()
		return AdoptResult{State: Gone} // created, but never started
	}
	c.started.Store(true)
	d.mu.Lock()
	d.containers[c.id] = c
	d.mu.Unlock()
	go d.watch(c)
	return AdoptResult{State: Alive, PID: c.record.PID}
}

// collectExit returns the exit of a process that has already ended. It waits for the monitor, if it
// still runs.
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
