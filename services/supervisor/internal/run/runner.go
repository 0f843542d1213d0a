// Package run launches, stops and removes containers, and adopts them after a restart of the agent.
//
// A launch executes the steps of launch.go; each step has its own file and an undo. Removal, a
// failed launch and the cleanup after a crash undo the same steps in reverse order. Package api
// calls it. Processes belong to package runtime; networks, ports and names to the other services.
package run

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images is the part of the image store that launches use.
type Images interface {
	Resolve(ref, platform string) (*store.Image, error)
	Pull(ctx context.Context, req image.PullRequest) (*store.Image, error)
	LayerPaths(img *store.Image) []string
}

// RootFS mounts root file systems of containers.
type RootFS interface {
	Mount(ctx context.Context, uid string, lowers []string) (string, error)
	Unmount(uid string) error
	Remove(uid string) error
	Mounted() ([]string, error)
	Path(uid string) string
}

// Processes runs container processes. Package runtime implements it with conmon and an OCI runtime.
type Processes interface {
	Runtime(nameOrPath string) (path string, err error)
	Prepare(ctx context.Context, launch runtime.Launch) (Monitor, error)
	Start(ctx context.Context, uid string) error
	Signal(ctx context.Context, uid string, sig syscall.Signal) error // runtime.ErrEnded if the process has exited
	Stop(ctx context.Context, uid string, sig syscall.Signal) error   // as Signal; thaws a frozen container
	Kill(ctx context.Context, uid string) error                       // kills a frozen process too
	Delete(ctx context.Context, uid string) error
	Attach(ctx context.Context, uid string) (Output, error)
	Exec(ctx context.Context, req runtime.ExecRequest) (Session, error)
	Adopt(ctx context.Context, uid string) (runtime.AdoptResult, error)
	IDs() ([]string, error)
}

// Output is a connection to the streams of a process. Read returns io.EOF at the end of the output.
type Output interface {
	Read() (runtime.Frame, error)
	Write(p []byte) (int, error)
	CloseStdin() error
	Resize(rows, cols uint16) error
	Close() error
}

// Monitor is a started monitor that creates the process.
type Monitor interface {
	Create(ctx context.Context, spec *specs.Spec) (pid int, err error)
}

// Config holds the dependencies and settings of a Runner.
type Config struct {
	DataRoot string // logs go to <DataRoot>/containers/<id>
	Log      *slog.Logger
	Store    *store.Store
	Images   Images
	RootFS   RootFS
	Host     spec.Host
	Cgroup   cgroup.Layout

	NameFiles namefiles.Mounts // file systems for dnsagent's name files; zero means plain directories

	LogFiles *logfile.Rotator // rotates container logs; nil means unbounded logs

	Events *events.Broker // receives container and network events; nil means none

	Defaults container.Defaults // for options that a container does not set

	HostGateways []string // addresses of host-gateway; empty means the gateways of the default bridge

	Processes Processes

	Networks     networkv1.NetworkServiceClient
	Sandboxes    networkv1.SandboxServiceClient
	Publications natv1.PublicationServiceClient
	Names        dnsv1.NameServiceClient
}

// Runner runs containers.
type Runner struct {
	Config
	lives *lifecycles
	names *reservations
	joins *sharedNetns

	foreign sync.Map      // container ID to PID, of running processes without stored state
	changes sync.Map      // container ID to *container.Change that overrides the stored one
	wake    chan struct{} // requests a network sync

	running context.Context // done after Close
	cancel  context.CancelFunc
}

// New returns a Runner. Restore must be called before other methods.
func New(cfg Config) *Runner {
	if cfg.Events == nil {
		cfg.Events = &events.Broker{}
	}
	r := &Runner{Config: cfg, lives: newLives(), names: newReservations(), joins: newJoins(),
		wake: make(chan struct{}, 1)}
	r.running, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close stops background work. The next Runner on the same store completes it.
func (r *Runner) Close() { r.cancel() }

// callTimeout bounds each call to another service.
const callTimeout = 20 * time.Second

// LogPath returns the path of a container's log.
func (r *Runner) LogPath(uid string) string {
	return filepath.Join(r.containerDir(uid), logfile.Name)
}

func (r *Runner) containerDir(uid string) string {
	return filepath.Join(r.DataRoot, "containers", uid)
}

// logFor returns a logger with the container's ID.
func (r *Runner) logFor(uid string) *slog.Logger { return r.Log.With("container", id.Short(uid)) }

// notRunning returns the fault for an operation that requires a running container.
func notRunning(subject, uid string) error {
	return fault.New(fault.Busy, subject, "Container "+id.Short(uid)+" is not running",
		fault.WithHint("start it first"))
}
