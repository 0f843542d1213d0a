// Package dnsagent serves names to containers: /etc/hosts, /etc/resolv.conf, /etc/hostname, and the
// embedded resolver.
//
// It needs no privileges, only a writable directory: netagent opens the resolver's sockets in the
// containers' namespaces and passes them. It does not mount the files.
//
// Its packages: api implements gRPC; names executes requests, records holds what administrators add,
// resolvers runs a resolver for each container; registration is the domain, hostsfile and resolvconf are
// the formats, files and store persist; zone holds the names, fleetnames exchanges them with other
// hosts; resolver implements DNS, upstream connects to name servers.
package dnsagent

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/api"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/fleetnames"
	"github.com/fairlead/fairlead/services/dnsagent/internal/measure"
	"github.com/fairlead/fairlead/services/dnsagent/internal/names"
	"github.com/fairlead/fairlead/services/dnsagent/internal/records"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvers"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
)

// FDStore keeps descriptors for the next process.
type FDStore = resolvers.FDStore

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
	Refuse  bool         // "dns-refusal": names that a policy does not allow get REFUSED, not NXDOMAIN

	Records  []dnsrecord.Record  // "dns-records"
	Forwards []dnsrecord.Forward // "dns-forwards"
	Roots    *x509.CertPool      // of servers of DNS over TLS; nil means the system's

	Fleet fleetv1.OverlayServiceClient // exchanges names with other hosts; nil without

	Store FDStore // keeps sockets for the next process, in addition to netagent; may be nil

	Policies natv1.PolicyServiceClient // natagent's; opens addresses for containers with an egress policy
	// WatchPolicies reports whenever natagent begins or stops to serve, until ctx ends. Nil: it is asked for
	// each answer.
	WatchPolicies func(ctx context.Context, report func(serving bool))

	HostRoot string                 // root of the host's etc and run; empty means "/"
	Hostname func() (string, error) // returns the host name; nil means os.Hostname
}

// Metrics returns the metrics of the service.
func Metrics() []metrics.Family { return measure.Families() }

// Service is dnsagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	measure.Meter
	store     *store.Store
	names     *names.Names
	resolvers *resolvers.Resolvers
	records   *records.Records
	exchange  *fleetnames.Exchange // nil without fleetagent

	watchPolicies func(ctx context.Context, report func(serving bool))
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

	if cfg.Hostname == nil {
		cfg.Hostname = os.Hostname
	}

	st, err := store.OpenAs(cfg.DataRoot, cfg.stateConfig())
	if err != nil {
		return nil, err
	}

	host := upstream.WatchFile(filepath.Join(cfg.HostRoot, "etc/resolv.conf"))
	s := &Service{store: st, records: records.New(st, cfg.programmed()), watchPolicies: cfg.WatchPolicies}
	s.resolvers = resolvers.New(resolvers.Config{SocketServer: filepath.Join(root, "net-fd.sock"), Host: host,
		Store: cfg.Store, Policies: cfg.Policies, Records: s.records, Roots: cfg.Roots, Log: cfg.Log})
	s.resolvers.SetCaching(!cfg.NoCache)
	s.resolvers.SetRefusal(cfg.Refuse)
	s.names = names.New(names.Config{Store: st, Files: files.NewPublisher(filepath.Join(root, "dns")),
		Resolvers: s.resolvers, Defaults: configured, HostRoot: cfg.HostRoot, Hostname: cfg.Hostname, Log: cfg.Log})
	if cfg.Fleet != nil {
		s.exchange = fleetnames.New(fleetnames.Config{Client: cfg.Fleet, Store: st, Zone: s.resolvers.Zone(),
			Log: cfg.Log})
	}
	s.Server = api.New(api.Config{Names: s.names, Queries: s.resolvers.Queries(), Cache: s.resolvers,
		Records: s.records})
	s.Meter = measure.Meter{Queries: s.resolvers.Queries(), Resolvers: s.names.Resolved}
	return s, nil
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

// programmed returns the records and forwards of the configuration file.
func (c Config) programmed() records.Configured {
	return records.Configured{Records: c.Records, Forwards: c.Forwards}
}

// Run reconciles files with the state and then waits: only requests change them. Resolvers start
// concurrently, as they need netagent. Names of other hosts arrive later.
func (s *Service) Run(ctx context.Context, ready func()) error {
	if err := s.names.Reconcile(ctx); err != nil {
		return err
	}
	s.resolvers.ResumeStored(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { s.resolvers.Resume(ctx, s.names.Resolved()) })
	if s.watchPolicies != nil {
		tasks.Go(func() { s.watchPolicies(ctx, s.resolvers.SetPoliciesServed) })
	}
	if s.exchange != nil {
		tasks.Go(func() { s.exchange.Run(ctx) })
	}
	ready()
	<-ctx.Done()
	tasks.Wait()
	return nil
}

// Close shuts down the resolvers and closes the state.
func (s *Service) Close() error {
	s.names.Close()
	s.resolvers.Close()
	return s.store.Close()
}
