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

// stallTime is how long a monitor may take to write out what a process said before it ended. When it is over, the clients that do not read are
// cut off, as the monitor waits for them.
const stallTime = 15 * time.Second

// watchExits tells each container of its exit file.
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

// remakeExits makes the folder of exit files again, which somebody has removed: monitors have nowhere to write to. What ended meanwhile is
// known from the bundles.
func (d *Driver) remakeExits() {
	d.cfg.Log.Warn("the folder of exit files was removed; it is made again", "folder", d.exitsDir())
	err := os.MkdirAll(d.exitsDir(), 0o700)
	if err == nil {
		_, err = d.exits.Add(d.exitsDir(), exitEvents)
	}
	if err != nil {
		d.cfg.Log.Error("the folder of exit files cannot be made again; ends are seen late", "folder", d.exitsDir(), "error", err)
	}
}

// watch waits for the end of a container's process and reports it. Both its processes are held already.
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
		d.cfg.OnExit(exit) // before anything else here can say that it has ended
	}
	close(c.done)
}

// closeAtEnd closes the channel when the process has ended; never after the driver was closed.
func closeAtEnd(p *process, ended chan<- struct{}) {
	if p.wait() {
		close(ended)
	}
}

// await is the watch itself: the exit file ends it, or a monitor that is gone without having left one.
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
			d.cfg.Log.Warn("clients that did not read are cut off", "container", c.id)
			c.closeAttachments()
		case <-monitorEnded:
			return d.orphaned(c, initEnded), true
		case <-d.closed:
			return Exit{}, false
		}
	}
}

// killTime is how long a killed process may take to be gone.
const killTime = 10 * time.Second

// orphaned ends a container whose monitor is gone: nobody reads its output or could learn its exit code any more.
func (d *Driver) orphaned(c *container, initEnded <-chan struct{}) Exit {
	if exit, ok := d.readExit(c.id); ok {
		return exit
	}
	d.cfg.Log.Warn("the monitor is gone; the container is ended", "container", c.id)
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

// readExit reads what conmon left, if it is there already: in the folder that is watched, or if that was removed in the bundle, where
// conmon writes it first.
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

// oomKilled tells whether conmon, which works in the bundle, noted there that memory ran out.
func (d *Driver) oomKilled(uid string) bool {
	_, err := os.Stat(filepath.Join(d.bundle(uid), "oom"))
	return err == nil
}
