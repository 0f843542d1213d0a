package dnsagent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

const (
	// maxForwards bounds the queries of all containers that are on their way to other servers, maxForwardsToOne those to one of
	// them. Each has a socket.
	maxForwards      = 4096
	maxForwardsToOne = 2048
	// maxKept bounds the answers of other servers that are kept for all containers. They have two kilobytes at most.
	maxKept = 4096
	// retry is how long to wait before netagent is asked again for sockets that it could not hand over.
	retry = 250 * time.Millisecond
	// resumeAtOnce bounds how many sockets are asked for at the same time after a start.
	resumeAtOnce = 16
	// forgetTime is how long a release waits for netagent, which lets go of sockets by itself too when the sandbox goes.
	forgetTime = time.Second
)

// What netagent is asked for at its socket.
const (
	wantSockets = "resolver"
	wantForget  = "forget"
)

// resolvers runs one resolver for each container that has one.
type resolvers struct {
	zone         *zone.Zone
	socketServer string // the socket at which netagent hands sockets over
	host         *upstream.Host
	budgets      *resolver.Budgets
	cache        *cache.Cache
	store        FDStore
	log          *slog.Logger

	fdMu sync.Mutex // held, before mu, while what runs and what is left with the manager change together

	mu      sync.Mutex
	running map[string]running
	rules   map[string]upstreamRule // whom to ask for whom; an owner without a line is not to be served
	changes uint64                  // how often that changed
	ended   bool                    // nobody is served from now on
}

// upstreamRule says whom to ask for a container, and from where.
type upstreamRule struct {
	registration.Upstream
	network string // the container's, as it is since the rule's last change: what was answered in another one is not believed
}

func newResolvers(keeper string, host *upstream.Host, store FDStore, log *slog.Logger) *resolvers {
	return &resolvers{
		zone: &zone.Zone{}, socketServer: keeper, host: host, budgets: resolver.NewBudgets(maxForwards, maxForwardsToOne), cache: cache.New(0), store: store, log: log,
		running: map[string]running{}, rules: map[string]upstreamRule{},
	}
}

// running is a resolver on its sockets.
type running struct {
	*resolver.Resolver
	socket uint64 // the inode of the one for UDP, which tells whether netagent has others now
}

func (s *resolvers) serves(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[owner].Resolver != nil
}

func (s *resolvers) wanted(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.rules[owner]
	return known && !s.ended
}

// register makes what a registration says be true for everybody, at once.
func (s *resolvers) register(r *registration.Registration, up registration.Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setRule(r.Owner, up)
	s.zone.Put(r.ZoneContainer())
}

// note registers the addresses of a container that has no resolver.
func (s *resolvers) note(r *registration.Registration) { s.zone.Put(r.ZoneContainer()) }

// setUpstream has a container's questions passed on to others from now on, if it is served.
func (s *resolvers) setUpstream(owner string, up registration.Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.rules[owner]; known {
		s.setRule(owner, up)
	}
}

// setRule is called with mu locked.
func (s *resolvers) setRule(owner string, up registration.Upstream) {
	s.changes++
	s.rules[owner] = upstreamRule{up, fmt.Sprintf("%s/%d", owner, s.changes)}
}

// setCaching forgets what other servers have said, and keeps it from now on, or does not.
func (s *resolvers) setCaching(on bool) {
	bound := 0
	if on {
		bound = maxKept
	}
	s.cache.Reset(bound)
}

// serve answers on sockets from now on. If they are served already, or the container was released in the meantime, they are closed.
func (s *resolvers) serve(owner string, on *sockets) {
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
		on.close()
		return
	}
	r := resolver.New(resolver.Config{Owner: owner, Names: s.zone, Budgets: s.budgets, Cache: s.cache, Log: s.log,
		Routes: func() []resolver.Upstream { return s.routes(owner) }})
	r.Serve(on.udp, on.tcp)
	s.running[owner] = running{r, on.socket}
	s.mu.Unlock()
	s.storeSockets(owner, on)
	if before.Resolver != nil {
		before.Close() // netagent, or the container's namespace, is another one than before
	}
}

// routes are whom to ask for a container at this moment.
func (s *resolvers) routes(owner string) []resolver.Upstream {
	s.mu.Lock()
	rule := s.rules[owner]
	s.mu.Unlock()
	if rule.Host {
		return routesTo(s.host.Servers(), "host", upstream.DialHost)
	}
	return routesTo(upstream.WithPort(rule.Servers), rule.network, upstream.DialContainer(s.socketServer, owner))
}

func routesTo(servers []netip.AddrPort, from string, dial resolver.Dial) []resolver.Upstream {
	routes := make([]resolver.Upstream, 0, len(servers))
	for _, server := range servers {
		routes = append(routes, resolver.Upstream{Server: server, Network: from, Dial: dial})
	}
	return routes
}

// unregister makes a container unknown to the others at once, and lets go of its sockets.
func (s *resolvers) unregister(ctx context.Context, owner string) {
	known, r := s.end(ctx, owner)
	if r.Resolver != nil {
		r.Close()
	}
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	if _, err := fdpass.Fetch(ctx, s.socketServer, fdpass.Request{Kind: wantForget, Owner: owner}); err != nil {
		s.log.DebugContext(ctx, "netagent was not told that sockets are not needed any more", "owner", owner, "error", err)
	}
}

// end makes a container unknown; what served it is still to be closed.
func (s *resolvers) end(ctx context.Context, owner string) (known bool, r running) {
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

// resume serves containers that were there before, as soon as netagent hands their sockets over. What is asked until then waits in
// the sockets.
func (s *resolvers) resume(ctx context.Context, owners []string) {
	var all sync.WaitGroup
	turns := make(chan struct{}, resumeAtOnce)
	for _, owner := range owners {
		all.Go(func() {
			for s.wanted(owner) && !s.serves(owner) {
				turns <- struct{}{}
				err := s.tryAgain(ctx, owner)
				<-turns
				if err == nil {
					return
				}
				if fault.Is(err, fault.NotFound) {
					s.log.WarnContext(ctx, "a container with a resolver has no sandbox", "owner", owner)
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

func (s *resolvers) tryAgain(ctx context.Context, owner string) error {
	on, err := s.openBy(ctx, fdpass.Fetch, owner) // resume repeats it
	if err != nil {
		return err
	}
	s.serve(owner, on)
	return nil
}

// close has all of them finish. The sockets stay with netagent.
func (s *resolvers) close() {
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
}
