package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stallTime limits the time a monitor may take to send the last output of a process that has ended.
// After it, clients that do not read are disconnected, because the monitor waits for them.
const stallTime = 15 * time.Second

// watchExits notifies containers of their exit files.
func (d *Driver) watchExits() {
	for {
		events, err := d.exits.Next()
		if err != nil {
			return // closed
		}
		for _, e := range events {
			if e.Gone {
				d.remakeExits()
			}
			if e.Gone || e.Overflow {
				d.nudgeAll()
			} else if c := d.get(e.Name); c != nil {
				c.checkExit()
			}
		}
	}
}

func (d *Driver) nudgeAll() {
	for _, c := range d.list() {
		c.checkExit()
	}
}

// remakeExits recreates the exit file directory after another program has removed it. Exits in the
// meantime are read from the bundles.
func (d *Driver) remakeExits() {
	d.cfg.Log.Warn("exit directory removed, creating it again", "directory", d.exitsDir())
	err := os.MkdirAll(d.exitsDir(), 0o700)
	if err == nil {
		_, err = d.exits.Add(d.exitsDir(), exitEvents)
	}
	if err != nil {
		d.cfg.Log.Error("cannot create exit directory, exits are detected late",
			"directory", d.exitsDir(), "error", err)
	}
}

// watch waits for the end of a container's process and reports it.
func (d *Driver) watch(c *container) {
	initEnded, monitorEnded := make(chan struct{}), make(chan struct{})
	go closeAtEnd(c.init, initEnded)
	if c.monitor == nil {
		close(monitorEnded)
	} else {
		go closeAtEnd(c.monitor, monitorEnded)
	}

	exit, ok := d.await(c, initEnded, monitorEnded)
	if !ok {
		return // the driver was closed
	}
	if c.started.Load() {
		d.cfg.OnExit(exit) // before other methods report the end
	}

	c.console.Ended()
	close(c.done)
}

// closeAtEnd closes the channel when the process has ended, unless the process is closed before.
func closeAtEnd(p *process, ended chan<- struct{}) {
	if p.wait() {
		close(ended)
	}
}

// await returns the exit when the exit file exists or the monitor has exited without writing it. It
// returns false if the driver is closed.
func (d *Driver) await(c *container, initEnded, monitorEnded <-chan struct{}) (Exit, bool) {
	var stalled, look <-chan time.Time
	for {
		if exit, ok := d.readExit(c.id); ok {
			return exit, true
		}
		select {
		case <-c.exitSeen:
		case <-initEnded:
			initEnded, stalled, look = nil, time.After(d.stall), time.After(lookAgain)
		case <-look:
			c.wakeMonitor()
			look = time.After(lookAgain)
		case <-stalled:
			d.cfg.Log.Warn("slow clients disconnected", "container", c.id)
			c.console.Disconnect()
		case <-monitorEnded:
			return d.orphaned(c, initEnded), true
		case <-d.closed:
			return Exit{}, false
		}
	}
}

// killTime limits the time until a killed process has ended.
const killTime = 10 * time.Second

// orphaned kills a container whose monitor has exited: its output can no longer be read.
func (d *Driver) orphaned(c *container, initEnded <-chan struct{}) Exit {
	if exit, ok := d.readExit(c.id); ok {
		return exit
	}

	d.cfg.Log.Warn("monitor exited, killing container", "container", c.id)
	_ = c.init.signal(syscall.SIGKILL)
	if initEnded != nil {
		select {
		case <-initEnded:
		case <-d.closed:
		case <-time.After(killTime):
		}
	}

	exit := Exit{ID: c.id, Code: unknownCode, Unknown: true, OOM: d.oomKilled(c.id), At: time.Now()}
	if code, ok := c.init.exitCode(reapTime); ok {
		exit.Code, exit.Unknown = code, false
	}

	return exit
}

// readExit reads the exit file, if it exists. conmon writes it to the bundle first, then to the
// watched directory.
func (d *Driver) readExit(uid string) (Exit, bool) {
	path := d.exitFile(uid)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(d.bundle(uid), keptExit)
		b, err = os.ReadFile(path)
	}

	if errors.Is(err, fs.ErrNotExist) {
		return Exit{}, false
	}

	exit := Exit{ID: uid, At: time.Now(), OOM: d.oomKilled(uid)}
	if info, err := os.Stat(path); err == nil {
		exit.At = info.ModTime()
	}

	code, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || code < 0 || code > 255 {
		code, exit.Unknown = unknownCode, true
	}

	exit.Code = code
	return exit, true
}

// oomKilled reports whether conmon recorded in the bundle that memory ran out.
func (d *Driver) oomKilled(uid string) bool {
	_, err := os.Stat(filepath.Join(d.bundle(uid), "oom"))
	return err == nil
}
