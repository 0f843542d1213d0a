// Package supervisor assembles the container service: image store, root file systems, OCI runtime
// and gRPC API. It obtains networks, ports and names from the other services. Command
// fairlead-agent creates a Service. Package run holds the verbs of containers; package launch has
// the steps of a launch.
package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/state"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/api"
	"github.com/fairlead/fairlead/services/supervisor/internal/builder"
	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/defaults"
	"github.com/fairlead/fairlead/services/supervisor/internal/diagnose"
	"github.com/fairlead/fairlead/services/supervisor/internal/disk"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/measure"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
	"github.com/fairlead/fairlead/services/supervisor/internal/processes"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// Options are defaults of containers' options.
type Options = defaults.Options

// Ulimit is a default limit of processes.
type Ulimit = resource.Ulimit

// Config configures a Service.
type Config struct {
	DataRoot string // images, container files and supervisor.db
	ExecRoot string // bundles, sockets and other run-time state
	Log      *slog.Logger
	State    state.Config // how the store is opened

	DefaultRuntime     string            // name or path; empty means crun, or runc if crun is unusable
	RegistryMirrors    []string          // URLs of mirrors of docker.io
	InsecureRegistries []string          // hosts and CIDRs without TLS verification, besides loopback addresses
	LogMaxSize         int64             // bytes of one log file; 0 means unlimited
	LogMaxFiles        int               // log files kept for each container, at least 1
	Runtimes           map[string]string // additional ones: name to path
	Options            Options           // defaults of containers' options
	Egress             []string          // rules for outgoing traffic without others; nil: everything
	BuildKit           string            // program that runs builds: name or path
	BuildDNS           []string          // servers of build steps; empty means those of the host
	Program            string            // path of the agent, which is a plugin too: see package buildplugin
	HostGateways       []string          // addresses of host-gateway; empty means the gateways of the default bridge

	Networks     networkv1.NetworkServiceClient
	Fleet        fleetv1.FleetServiceClient   // nil without fleetagent
	Overlay      fleetv1.OverlayServiceClient // nil without fleetagent
	Sandboxes    networkv1.SandboxServiceClient
	Publications natv1.PublicationServiceClient
	Policies     natv1.PolicyServiceClient
	Names        dnsv1.NameServiceClient
}

// Metrics returns the metrics of the service.
func Metrics() []metrics.Family { return measure.Families() }

// Service is the container service.
type Service struct {
	*api.Server
	measure.Meter

	runner  *run.Runner
	driver  *runtime.Driver
	store   *store.Store
	images  *image.Images
	volumes *volumes.Volumes
	events  events.Broker
	logs    *logfile.Rotator
	builder *builder.Builder

	registries atomic.Pointer[Config] // whose registries are in effect
}

// New opens the stores and probes conmon, the OCI runtime and the cgroups. It does not change
// containers before Run.
func New(ctx context.Context, cfg Config) (_ *Service, err error) {
	groups, err := cgroup.Detect(ctx)
	if err != nil {
		return nil, err
	}

	host, err := spec.DetectHost(groups.Mode == cgroup.V2)
	if err != nil {
		return nil, err
	}

	standard, err := defaults.Read(cfg.Options, groups, host)
	if err != nil {
		return nil, err
	}

	if cfg.DataRoot, err = filepath.EvalSymlinks(cfg.DataRoot); err != nil { // runc refuses symbolic links
		return nil, err
	}

	s := &Service{}
	s.registries.Store(&cfg)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()

	if s.store, err = store.OpenAs(cfg.DataRoot, cfg.stateConfig()); err != nil {
		return nil, err
	}

	if s.images, err = image.Open(ctx,
		image.Config{Root: filepath.Join(cfg.DataRoot, "images"), Store: s.store,
			Aside:   func() (string, error) { return state.Quarantine(cfg.DataRoot, "layers") },
			Mirrors: cfg.RegistryMirrors, InsecureRegistries: cfg.InsecureRegistries,
			Events: &s.events, Log: cfg.Log}); err != nil {
		return nil, err
	}

	if s.logs, err = logfile.NewRotator(logfile.Limit{Size: cfg.LogMaxSize, Files: cfg.LogMaxFiles},
		cfg.Log); err != nil {
		return nil, err
	}

	// The driver reports exits only of containers that the runner has started or adopted.
	if s.driver, err = runtime.New(ctx,
		runtime.Config{ExecRoot: cfg.ExecRoot, Default: cfg.DefaultRuntime, Runtimes: cfg.Runtimes,
			Cgroup: groups, Log: cfg.Log, OnExit: func(e runtime.Exit) { s.runner.OnExit(e) }}); err != nil {
		return nil, err
	}

	nameDir := filepath.Join(cfg.ExecRoot, "dns") // the directory that dnsagent uses
	others := agents.New(agents.Config{Networks: cfg.Networks, Sandboxes: cfg.Sandboxes,
		Publications: cfg.Publications, Policies: cfg.Policies, Names: cfg.Names, Overlay: cfg.Overlay,
		HostGateways: cfg.HostGateways})
	steps := buildnet.New(others, cfg.Log)
	s.builder = s.newBuilder(cfg, steps, others)
	s.volumes = volumes.New(volumes.Config{DataRoot: cfg.DataRoot, Store: s.store, Events: &s.events, Log: cfg.Log})
	s.runner = run.New(run.Config{DataRoot: cfg.DataRoot, Log: cfg.Log, Store: s.store, Images: s.images,
		Committed: s.images, Volumes: s.volumes,
		RootFS: rootfs.New(filepath.Join(cfg.DataRoot, "containers")), NameFiles: namefiles.New(nameDir), Host: host,
		Cgroup: groups, LogFiles: s.logs, Defaults: standard, Events: &s.events,
		Processes: processes.Adapter{Driver: s.driver}, Egress: cfg.Egress, Agents: others, BuildStep: steps.Uses})
	s.Meter = measure.Meter{Containers: s.runner.List, Images: func() int { return len(s.images.List()) },
		Launches: s.runner.LaunchTimes()}
	return s, s.serve(cfg, groups)
}

// stateConfig adds evidence of lost state: data that exists only for stored containers and images.
func (c Config) stateConfig() state.Config {
	cfg := c.State
	cfg.Evidence = state.Evidence{
		"directories of containers": filepath.Join(c.DataRoot, "containers", "*"),
		"run-time directories":      filepath.Join(c.ExecRoot, "containers", "*"),
		"data of volumes":           filepath.Join(c.DataRoot, "volumes", "*", "_data"),
		"layers of images":          filepath.Join(c.DataRoot, "images", "layers", "[0-9a-f]*[0-9a-f]"),
	}.Find
	return cfg
}

func (s *Service) serve(cfg Config, groups cgroup.Layout) error {
	runtimePath, err := s.driver.Runtime("")
	if err != nil {
		return err
	}

	s.Server = api.New(api.Config{Containers: s.runner, Events: &s.events, Networks: cfg.Networks, Fleet: cfg.Fleet,
		Images: s.images, Volumes: s.volumes, Builder: s.builder,
		Policies: follow.Egress{Follower: s.runner.Follower},
		Files:    s.runner.Files, Commits: s.runner.Commits,
		Disk: disk.New(disk.Config{Containers: s.runner, Images: s.images, Volumes: s.volumes,
			Upper: s.runner.RootFS.Upper, Events: &s.events, Log: cfg.Log}),
		Host: api.HostConfig{
			DataRoot: cfg.DataRoot, ExecRoot: cfg.ExecRoot, Runtime: runtimePath, CgroupVersion: groups.Mode.String(),
			LogDriver: cfg.Options.LogDriver, Runtimes: cfg.Runtimes, Limits: groups.Features.Names(),
			InitPath:   spec.FindInit(cfg.Options.InitPath),
			Mirrors:    func() []string { return s.registries.Load().RegistryMirrors },
			Insecure:   func() []string { return s.registries.Load().InsecureRegistries },
			Containers: s.runner.List, Images: func() int { return len(s.images.List()) },
			Compare: run.NewChecker(s.runner).Check,
			Diagnose: func(ctx context.Context) []diagnosis.Finding {
				return diagnose.Run(ctx,
					diagnose.Facts{Runtime: runtimePath, CgroupVersion: groups.Mode.String(),
						Overlay: rootfs.Supported})
			}}})
	return nil
}

// Reload applies changed registry mirrors, insecure registries and rules for outgoing traffic.
func (s *Service) Reload(_ context.Context, cfg Config) error {
	if err := s.images.UseRegistries(cfg.RegistryMirrors, cfg.InsecureRegistries); err != nil {
		return err
	}
	s.registries.Store(&cfg)
	s.runner.Rules.SetDefault(cfg.Egress)
	s.runner.RequestSync()
	return nil
}

// Run restores containers, calls ready, and runs the network sync and the sweeper until ctx is
// done. Then it ends BuildKit.
func (s *Service) Run(ctx context.Context, ready func()) error {
	defer s.builder.Close() // it releases the networks of build steps, so netagent must still serve
	if err := s.runner.Restore(ctx); err != nil {
		return err
	}
	ready()
	s.runner.Resume()
	var all sync.WaitGroup
	all.Go(func() { s.runner.RunNetworkSync(ctx) })
	all.Go(func() { s.builder.Recover(ctx) })
	all.Go(func() { follow.Egress{Follower: s.runner.Follower}.Follow(ctx) })
	run.NewSweeper(s.runner).RunSweeper(ctx)
	all.Wait()
	return nil
}

// Close releases files and connections. Containers keep running.
func (s *Service) Close() error {
	var errs []error
	if s.runner != nil {
		s.runner.Close()
	}

	if s.driver != nil {
		errs = append(errs, s.driver.Close())
	}

	if s.logs != nil {
		errs = append(errs, s.logs.Close())
	}

	if s.store != nil {
		errs = append(errs, s.store.Close())
	}

	return errors.Join(errs...)
}
