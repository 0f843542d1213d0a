// Package launch starts containers. A launch executes a list of steps; each step has its own file
// and an undo. Removal, a failed launch and the cleanup after a crash undo the same steps in
// reverse order.
//
// It does not stop containers and contains no policy about their end: package run calls it.
// Processes belong to package runtime; networks, ports and names to the other services.
package launch

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
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
	Upper(uid string) string
	MountImage(uid string, n int, lowers []string) (string, error)
	UnmountImages(uid string, n int) error
}

// Processes creates and starts container processes. Package runtime implements it with conmon and
// an OCI runtime.
type Processes interface {
	Runtime(nameOrPath string) (path string, err error)
	Prepare(ctx context.Context, launch runtime.Launch) (Monitor, error)
	Attach(ctx context.Context, uid string) (Output, error)
	Start(ctx context.Context, uid string) error
	Delete(ctx context.Context, uid string) error
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

// Config holds the dependencies and settings of a Launcher.
type Config struct {
	DataRoot string // logs go to <DataRoot>/containers/<id>
	Log      *slog.Logger
	Store    *store.Store
	Images   Images
	Volumes  *volumes.Volumes
	RootFS   RootFS
	Host     spec.Host
	Cgroup   cgroup.Layout

	CDI []string // directories of CDI specifications; a later one takes precedence

	NameFiles namefiles.Mounts // file systems for dnsagent's name files; zero means plain directories

	LogFiles *logfile.Rotator // rotates container logs; nil means unbounded logs

	Defaults container.Defaults // for options that a container does not set

	Processes Processes
	Agents    *agents.Agents
	Policies  *policies.Policies
	Lives     *lives.Lives
	Names     *lives.Names
	Joins     *lives.Joins
	Notices   *notices.Notices

	Waiters *Waiters // clients that attached before a start

	// Started is called after each launch of a process.
	Started func(c *container.Container, run *lives.Run)
}

// Launcher launches containers and undoes launches.
type Launcher struct {
	Config
	Times Times
}

// New returns a Launcher.
func New(cfg Config) *Launcher { return &Launcher{Config: cfg} }

// LogPath returns the path of a container's log.
func (r *Launcher) LogPath(uid string) string { return filepath.Join(r.Dir(uid), logfile.Name) }

// LogLimit returns the limit of a container's log. A log that is not written has none.
func (r *Launcher) LogLimit(cfg *container.Config) logfile.Limit {
	limit := r.LogFiles.Standard()
	if size, ok := cfg.Log.Size(); ok {
		limit.Size = size
	}
	if files, ok := cfg.Log.Files(); ok {
		limit.Files = files
	}
	if !cfg.Log.WritesFiles() {
		limit = logfile.Limit{}
	}
	return limit
}

// Dir returns the directory of a container's files.
func (r *Launcher) Dir(uid string) string { return filepath.Join(r.DataRoot, "containers", uid) }

// LogFor returns a logger with the container's ID.
func (r *Launcher) LogFor(uid string) *slog.Logger { return r.Log.With("container", id.Short(uid)) }
