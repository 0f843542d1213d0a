// Package run is the life of containers: launching, watching, stopping, removing, and finding them again after a restart.
//
// A launch is the list of steps in launch.go, each step in a file of its own with its undo. Removing a container, a launch that
// failed, and what a crash left behind are the same list walked backwards.
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
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images is what a launch needs of the image store.
type Images interface {
	Resolve(ref, platform string) (*store.Image, error)
	Pull(ctx context.Context, req image.PullRequest) (*store.Image, error)
	LayerPaths(img *store.Image) []string
}

// RootFS mounts containers' root file systems.
type RootFS interface {
	Mount(ctx context.Context, uid string, lowers []string) (string, error)
	Unmount(uid string) error
	Remove(uid string) error
	Mounted() ([]string, error)
	Path(uid string) string
}

// Processes runs containers' processes; package runtime does it with conmon and an OCI runtime.
type Processes interface {
	Runtime(nameOrPath string) (path string, err error)
	Prepare(ctx context.Context, launch runtime.Launch) (Monitor, error)
	Start(ctx context.Context, uid string) error
	Signal(ctx context.Context, uid string, sig syscall.Signal) error // runtime.ErrEnded if the process has ended
	Stop(ctx context.Context, uid string, sig syscall.Signal) error   // as Signal; what is frozen is thawed to take it
	Kill(ctx context.Context, uid string) error                       // whatever holds the process up
	Delete(ctx context.Context, uid string) error
	Attach(ctx context.Context, uid string) (Output, error)
	Exec(ctx context.Context, req runtime.ExecRequest) (Session, error)
	Adopt(ctx context.Context, uid string) (runtime.AdoptResult, error)
	IDs() ([]string, error)
}

// Output is a connection to a process's output, and to its input if that is open. Read answers io.EOF when all was read.
type Output interface {
	Read() (runtime.Frame, error)
	Write(p []byte) (int, error)
	CloseStdin() error
	Resize(rows, cols uint16) error
	Close() error
}

// Monitor watches over a process that is to be.
type Monitor interface {
	Create(ctx context.Context, spec *specs.Spec) (pid int, err error)
}

// Config is what a Runner works with.
type Config struct {
	DataRoot string // logs go to <DataRoot>/containers/<id>
	Log      *slog.Logger
	Store    *store.Store
	Images   Images
	RootFS   RootFS
	Host     spec.Host
	Cgroup   cgroup.Layout

	NameFiles namefiles.Mounts // what dnsagent writes name files into; the zero value: directories without a bound

	LogFiles *logfile.Rotator // bounds containers' logs; nil: nothing does

	Events *events.Broker // who wants to know what happens

	PidsLimit int64 // processes and threads of one container; 0: no limit

	HostGateways []string // what host-gateway means; empty: the host's addresses on the default bridge

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

	foreign sync.Map      // PID by container, of processes that run though no running container is stored
	intents sync.Map      // *container.Change by container, in place of stored ones that could not be replaced
	wake    chan struct{} // has a token while Follow is to catch up soon

	running context.Context // ends with Close
	cease   context.CancelFunc
}

// New makes a Runner. It does nothing until Restore.
func New(cfg Config) *Runner {
	if cfg.Events == nil {
		cfg.Events = &events.Broker{}
	}
	r := &Runner{Config: cfg, lives: newLives(), names: newReservations(), joins: newJoins(), wake: make(chan struct{}, 1)}
	r.running, r.cease = context.WithCancel(context.Background())
	return r
}

// Close ends what is under way in the background. What is not complete then is completed by the next Runner on the same store.
func (r *Runner) Close() { r.cease() }

// callTimeout bounds each call to another service.
const callTimeout = 20 * time.Second

// LogPath is where a container's output is kept.
func (r *Runner) LogPath(uid string) string {
	return filepath.Join(r.containerDir(uid), logfile.Name)
}

func (r *Runner) containerDir(uid string) string {
	return filepath.Join(r.DataRoot, "containers", uid)
}

// logFor names a container in the log.
func (r *Runner) logFor(uid string) *slog.Logger { return r.Log.With("container", id.Short(uid)) }

// notRunning is the answer to what only a running container can do.
func notRunning(subject, uid string) error {
	return fault.New(fault.Busy, subject, "Container "+id.Short(uid)+" is not running", fault.WithHint("start it first"))
}
