package daemon

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/proto/fault"
)

// instanceLocks is what keeps a second agent away.
type instanceLocks struct{ undo []func() error }

// acquireInstance makes the folders, and takes the locks and the pidfile.
func acquireInstance(o Options) (_ *instanceLocks, err error) {
	c := new(instanceLocks)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release())
		}
	}()
	// Others may pass through the exec-root to the public socket, and through the data-root to nothing.
	for _, root := range []struct {
		name, dir string
		mode      os.FileMode
	}{{"data-root", o.Config.DataRoot, 0o710}, {"exec-root", o.Config.ExecRoot, 0o711}} {
		if err := os.MkdirAll(root.dir, root.mode); err != nil {
			return nil, fault.New(fault.Unavailable, root.name+" "+root.dir, "cannot be made", fault.WithCause(err),
				fault.WithHint("run the agent as root, or give it a folder that it may write in with --%s", root.name))
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
		o.Log.Warn("no pidfile, starting without it", "error", err)
	default:
		c.undo = append(c.undo, pidfile.Remove)
	}
	return c, nil
}

// pidfilePath is the configured one. A file that several single services share names only the all-in-one agent's.
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
