// Package runtime drives containers' processes: through conmon, which stays with each of them, and an OCI runtime, crun or runc.
//
// A launch is Prepare, Create, Start. Prepare starts conmon, which waits; Create lets it run the runtime, which sets the container up to the
// moment before its program; Start lets the program go. What belongs to a container is in its bundle, <ExecRoot>/containers/<id>,
// and under its id in the runtime's state, in the cgroups and in <ExecRoot>/exits. Delete removes all of it, and needs nothing of it.
//
// Containers do not depend on this process: conmon is no child of it, keeps the log and the terminal, and leaves the exit code in a file.
// After a restart Adopt finds a container again. The package knows nothing of images, networks or names.
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

// Config is what a Driver works with.
type Config struct {
	ExecRoot string            // for what does not outlive a boot
	Conmon   string            // conmon's path; empty means that of $PATH
	Runtimes map[string]string // more runtimes by name, beside crun and runc
	Default  string            // the runtime's name or path; empty means crun, and runc where crun cannot be used
	Cgroup   cgroup.Layout
	Log      *slog.Logger
	// OnExit is told once of each container that was started, or adopted alive, when its process has ended. It is called from a goroutine of that
	// container alone, and may call Delete.
	OnExit func(Exit)
}

// Exit tells how a container's process ended.
type Exit struct {
	ID      string
	Code    int  // 128 plus the signal's number if one ended it
	Unknown bool // nobody saw it end; Code is 137
	OOM     bool // the kernel ended it, or a part of it, for want of memory
	At      time.Time
}

// unknownCode is what Docker answers where nobody saw the end either.
const unknownCode = 137

// Driver drives the containers of one agent.
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
	others     map[string]*ociRuntime // by path, as users gave them
	prepared   map[string]*Prepared
	containers map[string]*container
}

// New finds conmon and the runtimes and tries them.
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
			return nil, fault.New(fault.Unavailable, "folder "+dir, "cannot be made", fault.WithCause(err))
		}
	}
	var err error
	if d.exits, err = inotify.Watch(d.exitsDir(), exitEvents); err != nil {
		return nil, fault.New(fault.Unavailable, "folder "+d.exitsDir(), "cannot be watched", fault.WithCause(err),
			fault.WithHint("raise fs.inotify.max_user_instances"))
	}
	go d.watchExits()
	return d, nil
}

// Close lets go of everything without touching a container. It is called once.
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

// exitEvents are what is to be known of the folder of exit files.
const exitEvents = inotify.MovedIn | inotify.Written | inotify.Removed

// IDs are the containers that have anything here, running or left over.
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

// running gives a container whose process lives.
func (d *Driver) running(uid string) (*container, error) {
	if c := d.get(uid); c != nil && !c.ended() {
		return c, nil
	}
	return nil, fault.New(fault.Busy, subject(uid), "it is not running", fault.WithHint("start it first"))
}
