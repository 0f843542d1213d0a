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
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/inotify"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
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
	layout
	cfg      Config
	conmon   string
	programs *oci.Set
	exits    *inotify.Watcher
	closed   chan struct{}
	stall    time.Duration // see stallTime
	filters  oci.SeccompCache

	mu         sync.Mutex
	prepared   map[string]*Prepared
	containers map[string]*container
}

// New finds and probes conmon and the runtimes.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.OnExit == nil {
		cfg.OnExit = func(Exit) {}
	}

	conmon, err := findConmon(ctx, cfg.Conmon)
	programs, perr := oci.Find(ctx, oci.Config{Programs: cfg.Runtimes, Default: cfg.Default, Cgroup: cfg.Cgroup,
		Log: cfg.Log})
	if err = errors.Join(err, perr); err != nil {
		return nil, err
	}

	d := &Driver{layout: layout{cfg.ExecRoot}, cfg: cfg, conmon: conmon, programs: programs,
		closed: make(chan struct{}), stall: stallTime, prepared: map[string]*Prepared{},
		containers: map[string]*container{}}

	for _, dir := range []string{d.containersDir(), d.exitsDir(), d.ociRoot()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.New(fault.Unavailable, "directory "+dir, "cannot be created", fault.WithCause(err))
		}
	}

	if d.exits, err = inotify.Watch(d.exitsDir(), exitEvents); err != nil {
		return nil, fault.New(fault.Unavailable, "directory "+d.exitsDir(), "cannot be watched", fault.WithCause(err),
			fault.WithHint("raise fs.inotify.max_user_instances"))
	}

	go d.watchExits()
	return d, nil
}

// findConmon finds and probes conmon.
func findConmon(ctx context.Context, path string) (string, error) {
	path, err := oci.LookPath(path, "conmon")
	if err == nil {
		_, err = oci.Probe(ctx, path)
	}
	if err != nil {
		return "", fault.New(fault.Unavailable, "conmon", "is not usable", fault.WithCause(err),
			fault.WithHint("install the package conmon"))
	}
	return path, nil
}

// Runtime returns the path of a runtime by name or path. Empty means the default.
func (d *Driver) Runtime(nameOrPath string) (string, error) {
	r, err := d.programs.ByName(nameOrPath)
	if err != nil {
		return "", err
	}
	return r.Path, nil
}

// Close releases all descriptors without affecting containers. It must be called only once.
func (d *Driver) Close() error {
	close(d.closed)
	err := d.exits.Close()
	for _, c := range d.list() {
		c.console.Leave()
		c.release()
	}

	d.programs.Close()
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
	return nil, notRunning(uid)
}

func notRunning(uid string) error {
	return fault.New(fault.Busy, subject(uid), "Container "+uid+" is not running", fault.WithHint("start it first"))
}
