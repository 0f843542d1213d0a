// Package runtime runs containers' processes with conmon and an OCI runtime, crun or runc. Each
// container has its own conmon, its monitor.
//
// A launch is Prepare, Create, Start. Prepare starts conmon, which waits. Create makes conmon
// execute the runtime, which sets the container up. Start executes the container's program. A
// container's files are its bundle, <ExecRoot>/containers/<id>, and those under its ID in the
// runtime's state, in the cgroups and in <ExecRoot>/exits. Delete removes all of them.
//
// Containers survive the agent: conmon is not its child, holds the log and the terminal, and writes
// the exit code to a file. Adopt finds a container after an agent restart. Package run calls this
// package. It does not depend on images, networks or names.
package runtime

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/inotify"
)

// Config configures a Driver.
type Config struct {
	ExecRoot string            // directory for state that does not survive a reboot
	Conmon   string            // path of conmon; empty means the one in $PATH
	Runtimes map[string]string // additional runtimes: name to path
	Default  string            // name or path; empty means crun, or runc if crun is not usable
	Cgroup   cgroup.Layout
	Log      *slog.Logger
	// OnExit is called once for each container that was started, or adopted alive, when its process
	// has ended. Each container has its own goroutine for the call, and OnExit may call Delete.
	OnExit func(Exit)
}

// Exit describes the end of a container's process.
type Exit struct {
	ID      string
	Code    int  // 128 plus the signal number if a signal killed it
	Unknown bool // no monitor recorded the exit; Code is 137
	OOM     bool // the kernel killed the process or a descendant because memory ran out
	At      time.Time
}

// unknownCode is the exit code Docker reports for an unknown exit.
const unknownCode = 137

// Driver runs the containers of one agent.
type Driver struct {
	cfg      Config
	conmon   string
	known    map[string]*ociRuntime // by name
	standard *ociRuntime
	exits    *inotify.Watcher
	closed   chan struct{}
	stall    time.Duration // see stallTime
	filters  seccompCache

	mu         sync.Mutex
	others     map[string]*ociRuntime // by path, as given by users
	prepared   map[string]*Prepared
	containers map[string]*container
}

// New finds and probes conmon and the runtimes.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.OnExit == nil {
		cfg.OnExit = func(Exit) {}
	}

	d := &Driver{cfg: cfg, known: map[string]*ociRuntime{}, closed: make(chan struct{}), stall: stallTime,
		others: map[string]*ociRuntime{}, prepared: map[string]*Prepared{}, containers: map[string]*container{}}
	if err := errors.Join(d.findConmon(ctx), d.findRuntimes(ctx)); err != nil {
		return nil, err
	}

	for _, dir := range []string{d.containersDir(), d.exitsDir(), d.ociRoot()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.New(fault.Unavailable, "directory "+dir, "cannot be created", fault.WithCause(err))
		}
	}

	var err error
	if d.exits, err = inotify.Watch(d.exitsDir(), exitEvents); err != nil {
		return nil, fault.New(fault.Unavailable, "directory "+d.exitsDir(), "cannot be watched", fault.WithCause(err),
			fault.WithHint("raise fs.inotify.max_user_instances"))
	}

	go d.watchExits()
	return d, nil
}

// Close releases all descriptors without affecting containers. It must be called only once.
func (d *Driver) Close() error {
	close(d.closed)
	err := d.exits.Close()
	for _, c := range d.list() {
		c.release()
	}

	for _, r := range d.known {
		r.close()
	}

	for _, r := range d.others {
		r.close()
	}

	d.cfg.Cgroup.RemoveAgentCgroup(d.cfg.ExecRoot)
	return err
}

// exitEvents are the watched events of the exit file directory.
const exitEvents = inotify.MovedIn | inotify.Written | inotify.Removed

// IDs returns the containers that have files here, running or stale.
func (d *Driver) IDs() ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, dir := range []string{d.containersDir(), d.exitsDir(), d.ociRoot()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if id.Valid(e.Name()) && !seen[e.Name()] {
				seen[e.Name()] = true
				out = append(out, e.Name())
			}
		}
	}

	return out, nil
}

func (d *Driver) containersDir() string          { return filepath.Join(d.cfg.ExecRoot, "containers") }
func (d *Driver) exitsDir() string               { return filepath.Join(d.cfg.ExecRoot, "exits") }
func (d *Driver) ociRoot() string                { return filepath.Join(d.cfg.ExecRoot, "oci") }
func (d *Driver) bundle(uid string) string       { return filepath.Join(d.containersDir(), uid) }
func (d *Driver) runtimeState(uid string) string { return filepath.Join(d.ociRoot(), uid) }
func (d *Driver) exitFile(uid string) string     { return filepath.Join(d.exitsDir(), uid) }

// subject names a container in a fault.
func subject(uid string) string { return "container " + id.Short(uid) }

func (d *Driver) get(uid string) *container {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.containers[uid]
}

func (d *Driver) list() []*container {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*container, 0, len(d.containers))
	for _, c := range d.containers {
		out = append(out, c)
	}
	return out
}

// running returns a container whose process is alive.
func (d *Driver) running(uid string) (*container, error) {
	if c := d.get(uid); c != nil && !c.ended() {
		return c, nil
	}
	return nil, fault.New(fault.Busy, subject(uid), "is not running", fault.WithHint("start it first"))
}
