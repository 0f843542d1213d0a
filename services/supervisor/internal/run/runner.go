// Package run holds the verbs of containers: start, stop, kill, restart, remove and wait. It concludes
// runs whose process has exited, adopts containers after a restart of the agent, and compares the
// store with the host.
//
// It builds packages launch, session and follow, which do the rest. Package api calls it.
package run

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/cdi"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/commit"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/files"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/health"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// Processes runs container processes. Package runtime implements it with conmon and an OCI runtime.
type Processes interface {
	launch.Processes
	session.Processes
	Signal(ctx context.Context, uid string, sig syscall.Signal) error // runtime.ErrEnded if the process has exited
	Stop(ctx context.Context, uid string, sig syscall.Signal) error   // as Signal; thaws a frozen container
	Kill(ctx context.Context, uid string) error                       // kills a frozen process too
	Pause(ctx context.Context, uid string) error
	Unpause(ctx context.Context, uid string) error
	Update(ctx context.Context, uid string, limits *specs.LinuxResources) error
	Adopt(ctx context.Context, uid string) (runtime.AdoptResult, error)
	IDs() ([]string, error)
}

// Config holds the dependencies and settings of a Runner.
type Config struct {
	DataRoot string // logs go to <DataRoot>/containers/<id>
	Log      *slog.Logger
	Store    *store.Store
	Images   launch.Images
	// Committed stores the images of commits; nil means none.
	Committed commit.Images
	Volumes   *volumes.Volumes // nil means volumes below DataRoot
	RootFS    launch.RootFS
	BuildStep func(uid string) bool // reports whether an owner is a build step; nil means none is
	Host      spec.Host
	Cgroup    cgroup.Layout

	NameFiles namefiles.Mounts // file systems for dnsagent's name files; zero means plain directories

	LogFiles *logfile.Rotator // rotates container logs; nil means unbounded logs

	Events *events.Broker // receives container and network events; nil means none

	Defaults container.Defaults // for options that a container does not set

	Egress []string // rules of containers and networks without any; nil: everything

	Processes Processes
	Agents    *agents.Agents
}

// Runner runs containers.
type Runner struct {
	Config
	*follow.Follower
	*session.Sessions
	*Usage
	Files   *files.Files    // reads the files of containers
	Commits *commit.Commits // creates images from containers
	Rules   *policies.Policies

	launcher *launch.Launcher
	lives    *lives.Lives
	joins    *lives.Joins
	notices  *notices.Notices
	checks   *health.Checks

	policies *restarts

	foreign sync.Map // container ID to PID, of running processes without stored state

	running context.Context // done after Close
	cancel  context.CancelFunc
}

// New returns a Runner. Restore must be called before other methods.
func New(cfg Config) *Runner {
	if cfg.Events == nil {
		cfg.Events = &events.Broker{}
	}

	if cfg.Volumes == nil {
		cfg.Volumes = volumes.New(volumes.Config{DataRoot: cfg.DataRoot, Store: cfg.Store, Events: cfg.Events,
			Log: cfg.Log})
	}

	r := &Runner{Config: cfg, lives: lives.New(), joins: lives.NewJoins()}
	r.policies = newRestarts(r)
	r.Rules = policies.New(policies.Config{Log: cfg.Log, Store: cfg.Store, Agents: cfg.Agents})
	r.Rules.SetDefault(cfg.Egress)
	names, waiters := lives.NewNames(), &launch.Waiters{}
	r.notices = notices.New(notices.Config{Events: cfg.Events, Store: cfg.Store, Agents: cfg.Agents, Log: cfg.Log})
	r.launcher = launch.New(launch.Config{DataRoot: cfg.DataRoot, Log: cfg.Log, Store: cfg.Store, Images: cfg.Images,
		Volumes: cfg.Volumes,
		RootFS:  cfg.RootFS, Host: cfg.Host, Cgroup: cfg.Cgroup, NameFiles: cfg.NameFiles, LogFiles: cfg.LogFiles,
		Defaults: cfg.Defaults, Processes: cfg.Processes, Agents: cfg.Agents, Policies: r.Rules, Lives: r.lives,
		CDI: cdi.Directories(), Names: names,
		Joins: r.joins, Notices: r.notices, Waiters: waiters, Started: r.started})
	r.Follower = follow.New(follow.Config{Log: cfg.Log, Store: cfg.Store, Agents: cfg.Agents, Lives: r.lives,
		Policies: r.Rules, Names: names, Notices: r.notices})
	r.Sessions = session.New(session.Config{Store: cfg.Store, Processes: cfg.Processes, Host: cfg.Host,
		Defaults: cfg.Defaults, Lives: r.lives, Policies: r.Rules, Notices: r.notices, Waiters: waiters,
		LogPath: r.launcher.LogPath, Root: cfg.RootFS.Path})
	r.Usage = &Usage{store: cfg.Store, cgroup: cfg.Cgroup, notices: r.notices}
	r.checks = health.New(health.Config{Log: cfg.Log, Store: cfg.Store, Notices: r.notices, Prober: r.Sessions})
	r.Files = files.New(files.Config{Store: cfg.Store, Images: cfg.Images, RootFS: cfg.RootFS,
		Volumes: cfg.Volumes, Lives: r.lives, Notices: r.notices})
	r.Commits = commit.New(commit.Config{Store: cfg.Store, Images: cfg.Committed, Files: r.Files,
		Processes: cfg.Processes, Lives: r.lives, Notices: r.notices, Log: cfg.Log})
	r.running, r.cancel = context.WithCancel(context.Background())
	return r
}

// started begins the background work for a run.
func (r *Runner) started(c *container.Container, l *lives.Run) { r.checks.Watch(r.running, c, l) }

// Close stops background work. The next Runner on the same store completes it.
func (r *Runner) Close() { r.cancel() }

// LogPath returns the path of a container's log.
func (r *Runner) LogPath(uid string) string { return r.launcher.LogPath(uid) }

// Find returns the container with a name, ID or unique ID prefix.
func (r *Runner) Find(ref string) (*container.Container, error) { return r.Store.FindContainer(ref) }

// List returns all containers, newest first.
func (r *Runner) List() []*container.Container { return r.Store.ListContainers() }

// LaunchTimes returns the times of launches.
func (r *Runner) LaunchTimes() *launch.Times { return &r.launcher.Times }

// logFor returns a logger with the container's ID.
func (r *Runner) logFor(uid string) *slog.Logger { return r.launcher.LogFor(uid) }

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
