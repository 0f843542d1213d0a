// Package resolver speaks DNS: it answers one container's questions for the names of its networks, and passes all others on, unless
// their answers are still known.
//
// It serves sockets that it is given. What the names are, it asks package zone; whom to pass a question on to, and how to reach them,
// it is told anew for each. Questions for names of ours are answered at once where they are read, so that no name server, however
// slow, delays them.
package resolver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
)

// Limits.
const (
	maxForwards    = 1024                   // of one container, on their way at the same time; Docker's number
	maxConnections = 256                    // of one container by TCP
	idleTime       = 10 * time.Second       // after which a TCP connection is closed
	pause          = 5 * time.Millisecond   // after an error of a socket
	lastTime       = 100 * time.Millisecond // for what is under way at the end
	lastWrite      = time.Second            // and for an asker to take it
)

// Names finds what is known here. Package zone does.
type Names interface {
	Lookup(asker, name string, want func(netip.Addr) bool) ([]netip.Addr, bool)
	Reverse(asker string, address netip.Addr) (string, bool)
	Registered(name string) bool      // of a name without dots: on any network
	Assigned(address netip.Addr) bool // to a container on any network
}

// Config is what a resolver must be told.
type Config struct {
	Owner   string
	Names   Names
	Routes  func() []Upstream // whom to ask for other names, in this order; called for each question
	Budgets *Budgets          // shared by all resolvers of the process
	Cache   *cache.Cache      // what others have said, shared likewise
	Log     *slog.Logger
}

// Resolver is one container's.
type Resolver struct {
	cfg         Config
	forwards    *Semaphore
	connections *Semaphore
	memory      failureTracker
	ctx         context.Context // ends when nothing is read any more
	stop        context.CancelFunc
	answerCtx   context.Context // ends when what was read is not answered any more either
	giveUp      context.CancelFunc
	all         sync.WaitGroup
}

// New makes a resolver that answers nobody yet.
func New(cfg Config) *Resolver {
	r := &Resolver{cfg: cfg, forwards: NewTurns(maxForwards), connections: NewTurns(maxConnections)}
	r.answerCtx, r.giveUp = context.WithCancel(context.Background())
	r.ctx, r.stop = context.WithCancel(r.answerCtx)
	return r
}

// Serve answers on two sockets from now on, and closes them in the end.
func (r *Resolver) Serve(udp *net.UDPConn, tcp net.Listener) {
	r.all.Go(func() { r.serveUDP(udp) })
	r.all.Go(func() { r.serveTCP(tcp) })
}

// Shutdown is Close for when the asker will go on. It reads nothing new, and gives what was asked a moment to be answered: what waits
// in the sockets is left for the process after this one, if somebody else has them too.
func (r *Resolver) Shutdown() {
	r.stop()
	defer time.AfterFunc(lastTime, r.giveUp).Stop()
	r.all.Wait()
	r.giveUp()
}

// Close stops answering, and waits until nothing is under way.
func (r *Resolver) Close() {
	r.giveUp()
	r.all.Wait()
}

// serveUDP leaves in the socket what comes too late. A query that is answered immediately stays there until it is: if the process
// is killed in between, the next one answers it.
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
		r.handleDatagram(socket, message, &forwards, func(answer []byte) { _, _ = conn.WriteToUDPAddrPort(answer, from) })
	}
}

// handleDatagram answers a query that was peeked at. It consumes one that makes it panic, too, or the next process would as well.
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

// ended tells whether a socket is not to be read any more; after another error it waits for a moment, so that a lasting one does no harm.
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

// handle answers a message, immediately or later; before that it calls accept.
func (r *Resolver) handle(message []byte, tcp bool, later *sync.WaitGroup, accept func(), reply func([]byte)) {
	q, refusal := parse(message, tcp)
	if q == nil {
		if refusal != nil {
			reply(refusal)
		}
		return
	}
	if answer := r.local(q); answer != nil {
		reply(answer)
		return
	}
	routes := r.cfg.Routes()
	key, keeps := cache.KeyOf(cacheScope(routes), q.msg)
	if keeps {
		if kept := r.cfg.Cache.Get(key, time.Now()); kept != nil {
			reply(q.fromCache(kept))
			return
		}
	}
	if !r.take() {
		reply(q.refused())
		return
	}
	accept()
	later.Go(func() {
		defer r.release()
		answer := r.forward(q, routes)
		if answer == nil && r.answerCtx.Err() != nil {
			return // no answer makes the asker ask again, and a failure does not
		}
		if keeps && answer != nil {
			r.cfg.Cache.Put(key, answer, time.Now())
		}
		reply(q.relay(answer))
	})
}

// take has a turn for a question that is passed on. The caller gives it back.
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
	r.cfg.Budgets.all.giveBack(r.cfg.Owner)
	r.forwards.release()
}

// Semaphore bounds how much goes on at the same time.
type Semaphore struct{ free chan struct{} }

// NewTurns makes so many.
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
