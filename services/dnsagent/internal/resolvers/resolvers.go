// Package resolvers runs the embedded resolver of each container that has one. It requests the
// sockets from netagent, keeps them in the fd store, and decides which servers a container reaches.
//
// Packages names and dnsagent use it. Queries and responses belong to package resolver.
package resolvers

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/records"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/namepolicy"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/querylog"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

const (
	// maxForwards bounds the pending upstream queries of all containers, maxForwardsToOne those to
	// one server. Each has a socket.
	maxForwards      = 4096
	maxForwardsToOne = 2048
	// maxCached bounds the cached responses of all containers, of at most two kilobytes each.
	maxCached = 4096
	// retry is the delay before sockets are requested from netagent again.
	retry = 250 * time.Millisecond
	// maxResumes bounds concurrent socket requests after a start.
	maxResumes = 16
	// forgetTimeout bounds the wait of a release for netagent, which also closes the sockets with the
	// sandbox.
	forgetTimeout = time.Second
)

// Request kinds of netagent's fd socket.
const (
	wantSockets = "resolver"
	wantForget  = "forget"
)

// Config configures Resolvers.
type Config struct {
	SocketServer string // path of netagent's fd socket
	Host         *upstream.Host
	Store        FDStore                   // nil keeps no sockets
	Policies     natv1.PolicyServiceClient // opens addresses for containers with an egress policy
	Records      *records.Records          // of the administrator
	Roots        *x509.CertPool            // of servers of DNS over TLS; nil means the system's
	Log          *slog.Logger
}

// Resolvers runs one resolver for each container that has one.
type Resolvers struct {
	zone         *zone.Zone
	records      *records.Records
	tls          *upstream.TLS
	socketServer string
	host         *upstream.Host
	budgets      *resolver.Budgets
	cache        *cache.Cache
	store        FDStore
	queries      *querylog.Log
	policies     natv1.PolicyServiceClient
	session      namepolicy.Session // of natagent
	refuse       atomic.Bool        // see SetRefusal
	log          *slog.Logger

	fdMu sync.Mutex // makes changes of running and of the fd store atomic; taken before mu

	mu      sync.Mutex
	running map[string]running
	rules   map[string]upstreamRule // upstreams by owner; owners without a rule are not served
	changes uint64                  // number of changes of rules
	ended   bool                    // closed
}

// upstreamRule holds the upstreams of a container and where they are reached from.
type upstreamRule struct {
	registration.Upstream
	policy  *namepolicy.Policy // nil without one
	network string             // identifies the container's network since the last change, for the cache
}

// New returns resolvers without containers.
func New(cfg Config) *Resolvers {
	if cfg.Store == nil {
		cfg.Store = noStore{}
	}
	return &Resolvers{
		zone: &zone.Zone{}, records: cfg.Records, tls: upstream.NewTLS(cfg.Roots, cfg.Log),
		socketServer: cfg.SocketServer, host: cfg.Host,
		budgets: resolver.NewBudgets(maxForwards, maxForwardsToOne), cache: cache.New(0), store: cfg.Store,
		policies: cfg.Policies, log: cfg.Log, queries: querylog.New(),
		running: map[string]running{}, rules: map[string]upstreamRule{},
	}
}

// running is a resolver with its sockets.
type running struct {
	*resolver.Resolver
	socket uint64 // inode of the UDP socket, to detect that netagent has new ones
}

// Queries returns the questions of the containers.
func (s *Resolvers) Queries() *querylog.Log { return s.queries }

// Zone returns the names of all containers.
func (s *Resolvers) Zone() *zone.Zone { return s.zone }

// SetPoliciesServed is called when natagent begins and stops to serve, as whatever it opened may be closed
// then.
func (s *Resolvers) SetPoliciesServed(serving bool) { s.session.Set(serving) }

// Serves reports whether the resolver of a container runs.
func (s *Resolvers) Serves(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[owner].Resolver != nil
}

// wanted reports whether a container is to have a resolver.
func (s *Resolvers) wanted(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.rules[owner]
	return known && !s.ended
}

// Register publishes the names and upstreams of a container.
func (s *Resolvers) Register(r *registration.Registration, up registration.Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setRule(r.Owner, up, s.policyOf(r))
	s.zone.Put(r.ZoneContainer())
}

// PutAddresses registers the addresses of a container without a resolver.
func (s *Resolvers) PutAddresses(r *registration.Registration) { s.zone.Put(r.ZoneContainer()) }

// SetUpstream changes the upstreams of a container that is served.
func (s *Resolvers) SetUpstream(owner string, up registration.Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rule, known := s.rules[owner]; known {
		s.setRule(owner, up, rule.policy)
	}
}

// setRule stores a rule. mu must be held.
func (s *Resolvers) setRule(owner string, up registration.Upstream, policy *namepolicy.Policy) {
	s.changes++
	s.rules[owner] = upstreamRule{up, policy, fmt.Sprintf("%s/%d", owner, s.changes)}
}

// policyOf returns the policy of a container, or nil. Its rules were validated.
func (s *Resolvers) policyOf(r *registration.Registration) *namepolicy.Policy {
	rules, err := egress.Parse(r.Egress)
	if err != nil {
		rules = egress.Policy{} // answers nothing
	}
	if rules == nil {
		return nil
	}
	return namepolicy.New(r.Owner, rules, s.policies, &s.session, s.log)
}

// policy returns the policy of a container that is served, or nil.
func (s *Resolvers) policy(owner string) resolver.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.rules[owner].policy; p != nil {
		return p
	}
	return nil
}

// SetCaching clears the cache and enables or disables it.
func (s *Resolvers) SetCaching(on bool) {
	bound := 0
	if on {
		bound = maxCached
	}
	s.cache.Reset(bound)
}

// SetRefusal sets whether names that a policy does not allow get REFUSED. By default they get NXDOMAIN.
func (s *Resolvers) SetRefusal(refuse bool) { s.refuse.Store(refuse) }

// FlushCache removes all responses from the cache.
func (s *Resolvers) FlushCache() { s.cache.Flush() }

// Serve starts a resolver on sockets. It closes them if they are already served or the container
// was released in the meantime.
func (s *Resolvers) Serve(owner string, on *Sockets) {
	if on == nil {
		return
	}

	s.fdMu.Lock()
	defer s.fdMu.Unlock()

	s.mu.Lock()
	_, known := s.rules[owner]
	before := s.running[owner]
	if !known || s.ended || before.Resolver != nil && before.socket == on.socket {
		s.mu.Unlock()
		on.Close()
		return
	}

	r := resolver.New(resolver.Config{Owner: owner, Names: s.zone, Budgets: s.budgets, Cache: s.cache, Log: s.log,
		Record: s.queries.Add, Exchanged: s.queries.Exchanged,
		Records: func(name string) []dnsrecord.Entry { return s.records.Find(s.rule(owner).Networks, name) },
		Routes:  func(name string) []resolver.Upstream { return s.routes(owner, name) },
		Policy:  func() resolver.Policy { return s.policy(owner) },
		Refuse:  s.refuse.Load})
	r.Serve(on.udp, on.tcp)
	s.running[owner] = running{r, on.socket}
	s.mu.Unlock()
	s.storeSockets(owner, on)
	if before.Resolver != nil {
		before.Close() // netagent or the container was restarted
	}
}

// Unregister removes a container from the zone and closes its sockets.
func (s *Resolvers) Unregister(ctx context.Context, owner string) {
	known, r := s.end(ctx, owner)
	if r.Resolver != nil {
		r.Close()
	}
	s.queries.Forget(owner)
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	if _, err := fdpass.Fetch(ctx, s.socketServer, fdpass.Request{Kind: wantForget, Owner: owner}); err != nil {
		s.log.DebugContext(ctx, "socket release failed", "owner", owner, "error", err)
	}
}

// end removes a container from the zone and the rules, and returns its resolver, which the caller
// must close.
func (s *Resolvers) end(ctx context.Context, owner string) (known bool, r running) {
	s.fdMu.Lock()
	defer s.fdMu.Unlock()

	s.mu.Lock()
	s.zone.Remove(owner)
	_, known = s.rules[owner]
	delete(s.rules, owner)
	r = s.running[owner]
	delete(s.running, owner)
	s.mu.Unlock()
	if known {
		s.dropStored(ctx, owner)
	}

	return known, r
}

// Resume serves the given containers after a start, as soon as netagent sends their sockets.
// Queries wait in the sockets until then.
func (s *Resolvers) Resume(ctx context.Context, owners []string) {
	var all sync.WaitGroup
	slots := make(chan struct{}, maxResumes)
	for _, owner := range owners {
		all.Go(func() {
			for s.wanted(owner) && !s.Serves(owner) {
				slots <- struct{}{}
				err := s.tryAgain(ctx, owner)
				<-slots
				if err == nil {
					return
				}
				if fault.Is(err, fault.NotFound) {
					s.log.WarnContext(ctx, "container with a resolver has no sandbox", "owner", owner)
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(retry):
				}
			}
		})
	}

	all.Wait()
}

// tryAgain requests the sockets of a container from netagent once, and serves them.
func (s *Resolvers) tryAgain(ctx context.Context, owner string) error {
	on, err := s.openBy(ctx, fdpass.Fetch, owner) // resume retries
	if err != nil {
		return err
	}
	s.Serve(owner, on)
	return nil
}

// Close shuts down all resolvers. netagent keeps the sockets.
func (s *Resolvers) Close() {
	s.mu.Lock()
	ending := slices.Collect(maps.Values(s.running))
	clear(s.running)
	s.ended = true
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, r := range ending {
		all.Go(r.Shutdown)
	}
	all.Wait()
	s.tls.Close()
}
