// Package dnsagent serves names: what a container finds in /etc/hosts, /etc/resolv.conf and /etc/hostname, and what its questions to
// the embedded resolver are answered.
//
// It needs no privilege and nothing of the kernel but a folder to write in: the resolver's sockets are opened by netagent in the
// containers' namespaces, and handed over. It knows containers by their UID only, and does not mount the files that it writes. The
// rooms: api speaks gRPC, registration is the domain, hostsfile and resolvconf are the formats, files and store keep; zone knows
// who has which name, resolver speaks DNS, upstream leads to other name servers.
package dnsagent

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/api"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
)

// Config is what dnsagent must be told.
type Config struct {
	DataRoot string // holds dns.db
	ExecRoot string // holds dns/<owner>/{hostname,hosts,resolv.conf}, and net-fd.sock, at which netagent hands sockets over
	Log      *slog.Logger
	State    state.Config // how the store is opened

	Servers []netip.Addr // "dns": for containers that name none
	Search  []string     // "dns-search"
	Options []string     // "dns-opts"
	NoCache bool         // "dns-cache" is false: other servers are asked each time

	Store FDStore // where sockets are left for the next process, beside netagent; nil: nowhere

	HostRoot string                 // where the host's etc and run are; "/" if empty
	Hostname func() (string, error) // the host's name; os.Hostname if nil
}

// Service is dnsagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	names  *names
	closed context.CancelFunc
}

// New checks the configuration and opens the state. It changes no container's file.
func New(_ context.Context, cfg Config) (*Service, error) {
	configured, err := cfg.forContainers()
	if err != nil {
		return nil, err
	}
	root, err := filepath.Abs(cfg.ExecRoot) // the paths are answered to others, who may stand in another folder
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "folder "+cfg.ExecRoot, "cannot be resolved")
	}
	if cfg.HostRoot == "" {
		cfg.HostRoot = "/"
	}
	if cfg.Store == nil {
		cfg.Store = noStore{}
	}
	if cfg.Hostname == nil {
		cfg.Hostname = os.Hostname
	}
	st, err := store.OpenAs(cfg.DataRoot, cfg.stateConfig())
	if err != nil {
		return nil, err
	}
	folder := files.NewPublisher(filepath.Join(root, "dns"))
	closing, closed := context.WithCancel(context.Background())
	n := &names{
		store: st, files: folder, publisher: newPublisher(closing.Done(), folder, cfg.Log), configured: configured, sharers: map[string]map[string]bool{},
		hostRoot: cfg.HostRoot, hostname: cfg.Hostname, log: cfg.Log,
		resolvers: newResolvers(filepath.Join(root, "net-fd.sock"), upstream.WatchFile(filepath.Join(cfg.HostRoot, "etc/resolv.conf")), cfg.Store, cfg.Log),
	}
	n.resolvers.setCaching(!cfg.NoCache)
	return &Service{Server: api.New(n), names: n, closed: closed}, nil
}

// stateConfig names what only the store explains.
func (c Config) stateConfig() state.Config {
	how := c.State
	how.Evidence = state.Evidence{"directories with name files of containers": filepath.Join(c.ExecRoot, "dns", "*")}.Find
	return how
}

// forContainers is what containers get that name nothing themselves.
func (c Config) forContainers() (resolvconf.Conf, error) {
	conf := resolvconf.Conf{Search: c.Search, Servers: c.Servers, Options: c.Options}
	return conf, registration.ValidateNames("configuration", conf)
}

// Reload takes servers, search domains and options, for containers that are registered from now on. What other servers have said is
// forgotten.
func (s *Service) Reload(_ context.Context, cfg Config) error {
	configured, err := cfg.forContainers()
	if err != nil {
		return err
	}
	s.names.configure(configured)
	s.names.resolvers.setCaching(!cfg.NoCache)
	return nil
}

// Check tells why Reload would fail.
func (s *Service) Check(_ context.Context, cfg Config) error {
	_, err := cfg.forContainers()
	return err
}

// Run brings files and state together, and then only waits: nothing but requests changes them. Resolvers start beside that, as they
// need netagent.
func (s *Service) Run(ctx context.Context, ready func()) error {
	if err := s.names.reconcile(ctx); err != nil {
		return err
	}
	s.names.resolvers.resumeStored(ctx)
	var resuming sync.WaitGroup
	resuming.Go(func() { s.names.resolvers.resume(ctx, s.names.resolved()) })
	ready()
	<-ctx.Done()
	resuming.Wait()
	return nil
}

// Close ends the resolvers and closes the state.
func (s *Service) Close() error {
	s.closed()
	s.names.publisher.close()
	s.names.resolvers.close()
	return s.names.store.Close()
}
