// Package resolver is a DNS server for one container. It responds to questions about container
// names and forwards all others to upstreams, through a cache.
//
// It serves sockets that it receives. Package zone holds the names; the caller chooses the
// upstreams for each query. Questions about container names are handled by the reading goroutine,
// so a slow upstream never delays them.
package resolver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
)

// Limits.
const (
	maxForwards    = 1024                   // pending queries of one container, as in Docker
	maxConnections = 256                    // TCP connections of one container
	idleTime       = 10 * time.Second       // idle timeout of a TCP connection
	pause          = 5 * time.Millisecond   // delay after a socket error
	lastTime       = 100 * time.Millisecond // for pending queries at shutdown
	lastWrite      = time.Second            // for writing the last response
)

// Names finds names of containers. Package zone implements it.
type Names interface {
	Lookup(client, name string, want func(netip.Addr) bool) ([]netip.Addr, bool)
	LookupWildcard(client, name string, want func(netip.Addr) bool) ([]netip.Addr, bool)
	Reverse(client string, address netip.Addr) (string, bool)
	Registered(name string) bool      // a name without dots, on any network
	Assigned(address netip.Addr) bool // to a container on any network
}

// Policy decides which names a container resolves. Package namepolicy implements it.
type Policy interface {
	// Allows reports whether a question about a name may be forwarded.
	Allows(name string) bool
	// Open opens the addresses of an answer, which is not given after an error.
	Open(ctx context.Context, answer *dns.Msg, local bool) error
}

// Config configures a resolver.
type Config struct {
	Owner   string
	Names   Names
	Records Records                      // of the administrator; nil for none
	Routes  func(name string) []Upstream // upstreams for a name in order; called for each query
	Policy  func() Policy                // the container's policy for names; nil, or returns nil, without one
	Refuse  func() bool                  // names that Policy does not allow get REFUSED; nil: NXDOMAIN
	Budgets *Budgets                     // shared by all resolvers of the process
	Cache   *cache.Cache                 // shared by all resolvers of the process
	Record  func(Answered)               // receives each answered question; nil for none
	// Exchanged receives the outcome of each question to an upstream; nil for none.
	Exchanged func(server netip.AddrPort, took time.Duration, err error)
	Log       *slog.Logger
}

// Resolver serves one container.
type Resolver struct {
	cfg         Config
	forwards    *Semaphore
	connections *Semaphore
	failures    failureTracker
	ctx         context.Context // done when reading stops
	stop        context.CancelFunc
	answerCtx   context.Context // done when responding stops
	giveUp      context.CancelFunc
	all         sync.WaitGroup
}

// New returns a resolver that serves no socket yet.
func New(cfg Config) *Resolver {
	r := &Resolver{cfg: cfg, forwards: NewTurns(maxForwards), connections: NewTurns(maxConnections)}
	r.answerCtx, r.giveUp = context.WithCancel(context.Background())
	r.ctx, r.stop = context.WithCancel(r.answerCtx)
	return r
}

// Serve starts serving two sockets. The resolver closes them.
func (r *Resolver) Serve(udp *net.UDPConn, tcp net.Listener) {
	r.all.Go(func() { r.serveUDP(udp) })
	r.all.Go(func() { r.serveTCP(tcp) })
}

// Shutdown stops reading and gives pending queries a moment to complete. Unread queries stay in the
// sockets for the next process, if another process holds them too.
func (r *Resolver) Shutdown() {
	r.stop()
	defer time.AfterFunc(lastTime, r.giveUp).Stop()
	r.all.Wait()
	r.giveUp()
}

// Close stops responding and waits for all goroutines.
func (r *Resolver) Close() {
	r.giveUp()
	r.all.Wait()
}

// serveUDP serves a UDP socket. Unread queries stay in the socket at shutdown. A locally answered
// query stays there until the response is sent, so that the next process responds after a crash.
func (r *Resolver) serveUDP(conn *net.UDPConn) {
	defer conn.Close()
	defer context.AfterFunc(r.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()

	var forwards sync.WaitGroup
	defer forwards.Wait()

	socket := newDatagrams(conn)
	for {
		message, from, err := socket.peek()
		if r.ended(err) {
			return
		}
		if err != nil {
			continue
		}
		r.handleDatagram(socket, message, &forwards, func(answer []byte) {
			_,
				_ = conn.WriteToUDPAddrPort(answer, from)
		})
	}
}

// handleDatagram handles a peeked query. It also consumes a query that panics, which would crash
// the next process too.
func (r *Resolver) handleDatagram(socket *datagrams, message []byte, later *sync.WaitGroup, reply func([]byte)) {
	consumed := false
	consume := func() {
		if !consumed {
			consumed = true
			socket.consume()
		}
	}
	defer consume()
	r.handle(message, false, later, consume, reply)
}

// ended reports whether reading must stop. After other errors it waits a moment, to limit the load
// of a persistent one.
func (r *Resolver) ended(err error) bool {
	if err == nil {
		return false
	}
	if r.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return true
	}
	time.Sleep(pause)
	return false
}

// handle responds to a message, immediately or in a new goroutine. It calls accept before it starts
// one.
func (r *Resolver) handle(message []byte, tcp bool, later *sync.WaitGroup, accept func(), reply func([]byte)) {
	begun := time.Now()
	q, refusal := parse(message, tcp)
	if q == nil {
		if refusal != nil {
			reply(refusal)
		}
		return
	}

	respond := func(answer []byte, from Origin) {
		reply(answer)
		r.record(q, answer, from, begun)
	}
	if policy := r.policy(); policy != nil {
		r.handleRestricted(q, policy, later, accept, respond)
		return
	}

	p := r.plan(q)
	if p.answer != nil {
		respond(p.answer, p.from)
		return
	}
	r.prepare(p)
	if cached := r.cached(p); cached != nil {
		respond(cached, p.origin(Origin{Source: FromCache}))
		return
	}

	if !r.take() {
		respond(q.refused(), Origin{Source: FromLimit})
		return
	}

	accept()
	later.Go(func() {
		defer r.release()
		answer, from := r.fetch(p)
		if answer == nil {
			return // clients repeat a query without a response, but not after a failure
		}
		respond(answer, from)
	})
}

// take acquires a slot for a forwarded query. The caller must call release.
func (r *Resolver) take() bool {
	if !r.forwards.take() {
		return false
	}
	if !r.cfg.Budgets.all.take(r.cfg.Owner) {
		r.forwards.release()
		return false
	}
	return true
}

func (r *Resolver) release() {
	r.cfg.Budgets.all.release(r.cfg.Owner)
	r.forwards.release()
}

// Semaphore bounds concurrent operations.
type Semaphore struct{ free chan struct{} }

// NewTurns returns a semaphore with n slots.
func NewTurns(n int) *Semaphore { return &Semaphore{make(chan struct{}, n)} }

func (t *Semaphore) take() bool {
	select {
	case t.free <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t *Semaphore) release() { <-t.free }
