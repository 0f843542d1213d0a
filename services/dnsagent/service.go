// Package dnsagent serves names to containers: /etc/hosts, /etc/resolv.conf, /etc/hostname, and the
// embedded resolver.
//
// It needs no privileges, only a writable directory: netagent opens the resolver's sockets in the
// containers' namespaces and passes them. It does not mount the files.
//
// Its packages: api implements gRPC, registration is the domain, hostsfile and resolvconf are the
// formats, files and store persist; zone holds the names, resolver implements DNS, upstream
// connects to name servers.
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

// Config configures dnsagent.
type Config struct {
	DataRoot string // holds dns.db
	ExecRoot string // holds dns/<owner>/{hostname,hosts,resolv.conf}, and netagent's net-fd.sock
	Log      *slog.Logger
	State    state.Config // options of the store

	Servers []netip.Addr // "dns": for containers without their own
	Search  []string     // "dns-search"
	Options []string     // "dns-opts"
	NoCache bool         // "dns-cache" is false

	Store FDStore // keeps sockets for the next process, in addition to netagent; may be nil

	HostRoot string                 // root of the host's etc and run; empty means "/"
	Hostname func() (string, error) // returns the host name; nil means os.Hostname
}

// Service is dnsagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	names  *names
	closed context.CancelFunc
}

// New validates the configuration and opens the state. It changes no file of a container.
func New(_ context.Context, cfg Config) (*Service, error) {
	configured, err := cfg.forContainers()
	if err != nil {
		return nil, err
	}

	root, err := filepath.Abs(cfg.ExecRoot) // clients can have another working directory
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "directory "+cfg.ExecRoot, "cannot be resolved")
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

	publisher := files.NewPublisher(filepath.Join(root, "dns"))
	closing, closed := context.WithCancel(context.Background())
	n := &names{
		store: st, files: publisher, publisher: newPublisher(closing.Done(), publisher, cfg.Log),
		configured: configured,
		sharers:    map[string]map[string]bool{},
		hostRoot:   cfg.HostRoot, hostname: cfg.Hostname, log: cfg.Log,
		resolvers: newResolvers(filepath.Join(root, "net-fd.sock"),
			upstream.WatchFile(filepath.Join(cfg.HostRoot, "etc/resolv.conf")), cfg.Store, cfg.Log),
	}

	n.resolvers.setCaching(!cfg.NoCache)
	return &Service{Server: api.New(n), names: n, closed: closed}, nil
}

// stateConfig returns the store options, with the evidence of a lost store.
func (c Config) stateConfig() state.Config {
	how := c.State
	how.Evidence = state.Evidence{"directories with name files of containers": filepath.Join(c.ExecRoot, "dns",
		"*")}.Find
	return how
}

// forContainers returns the default settings of containers.
func (c Config) forContainers() (resolvconf.Conf, error) {
	conf := resolvconf.Conf{Search: c.Search, Servers: c.Servers, Options: c.Options}
	return conf, registration.ValidateNames("configuration", conf)
}

// Reload changes the servers, search domains and options of containers that are registered later,
// and clears the cache.
func (s *Service) Reload(_ context.Context, cfg Config) error {
	configured, err := cfg.forContainers()
	if err != nil {
		return err
	}
	s.names.configure(configured)
	s.names.resolvers.setCaching(!cfg.NoCache)
	return nil
}

// Check returns the error with which Reload would fail.
func (s *Service) Check(_ context.Context, cfg Config) error {
	_, err := cfg.forContainers()
	return err
}

// Run reconciles files with the state and then waits: only requests change them. Resolvers start
// concurrently, as they need netagent.
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

// Close shuts down the resolvers and closes the state.
func (s *Service) Close() error {
	s.closed()
	s.names.publisher.close()
	s.names.resolvers.close()
	return s.names.store.Close()
}
