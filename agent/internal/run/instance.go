package run

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/proto/fault"
)

// instanceLocks holds the locks and the PID file, which prevent a second agent.
type instanceLocks struct{ undo []func() error }

// acquireInstance creates the directories, and acquires the locks and the PID file.
func acquireInstance(o Options) (_ *instanceLocks, err error) {
	c := new(instanceLocks)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release())
		}
	}()
	// Other users need the exec-root to reach the public socket. The data-root is for root and the
	// group only.
	for _, root := range []struct {
		name, dir string
		mode      os.FileMode
	}{{"data-root", o.Config.DataRoot, 0o710}, {"exec-root", o.Config.ExecRoot, 0o711}} {
		if err := os.MkdirAll(root.dir, root.mode); err != nil {
			return nil, fault.New(fault.Unavailable, root.name+" "+root.dir, "cannot be created", fault.WithCause(err),
				fault.WithHint("run the agent as root, or use a writable directory with --%s", root.name))
		}
		for _, s := range o.Services {
			lock, err := process.Acquire(root.name, root.dir, s.Name)
			if err != nil {
				return nil, err
			}
			c.undo = append(c.undo, lock.Release)
		}
	}
	pidfile, err := process.WritePidfile(pidfilePath(o))
	switch {
	case fault.Is(err, fault.Busy):
		return nil, err
	case err != nil:
		o.Log.Warn("cannot write PID file, starting without it", "error", err)
	default:
		c.undo = append(c.undo, pidfile.Remove)
	}
	return c, nil
}

// pidfilePath returns the path of the PID file. A configured file that several service processes
// would share is used by the all-in-one agent only.
func pidfilePath(o Options) string {
	shared := o.Config.OriginOf("pidfile").Rank != config.Flag && len(o.Services) == 1
	if o.Config.Pidfile == "" || shared {
		return filepath.Join(o.Config.ExecRoot, o.Name+".pid")
	}
	return o.Config.Pidfile
}

func (c *instanceLocks) release() error {
	var all error
	for i := len(c.undo) - 1; i >= 0; i-- {
		all = errors.Join(all, c.undo[i]())
	}
	return all
}
