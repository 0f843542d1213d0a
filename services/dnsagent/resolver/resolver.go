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
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/dnsagent/resolver/answers"
)

// Limits.
const (
	maxForwards    = 1024                 // of one container, on their way at the same time; Docker's number
	maxConnections = 256                  // of one container by TCP
	idleTime       = 10 * time.Second     // after which a TCP connection is closed
	pause          = 5 * time.Millisecond // after an error of a socket
)

// Names finds what is known here. Package zone does.
type Names interface {
	Lookup(asker, name string, want func(netip.Addr) bool) ([]netip.Addr, bool)
	Reverse(asker string, address netip.Addr) (string, bool)
}

// Config is what a resolver must be told.
type Config struct {
	Owner  string
	Names  Names
	Routes func() []Route // whom to ask for other names, in this order; called for each question
	Turns  *Turns         // shared by all resolvers of the process
	Kept   *answers.Cache // what others have said, shared likewise
	Log    *slog.Logger
}

// Resolver is one container's.
type Resolver struct {
	cfg         Config
	forwards    *Turns
	connections *Turns
	memory      memory
	ctx         context.Context // ends with Close
	stop        context.CancelFunc
	all         sync.WaitGroup

	mu      sync.Mutex
	closers map[io.Closer]bool // what Close closes; nil after it
}

// New makes a resolver that answers nobody yet.
func New(cfg Config) *Resolver {
	ctx, stop := context.WithCancel(context.Background())
	return &Resolver{cfg: cfg, forwards: NewTurns(maxForwards), connections: NewTurns(maxConnections), ctx: ctx, stop: stop, closers: map[io.Closer]bool{}}
}

// Serve answers on two sockets from now on, and closes them in the end.
func (r *Resolver) Serve(udp *net.UDPConn, tcp net.Listener) {
	if r.keep(udp) {
		r.all.Go(func() { r.serveUDP(udp) })
	}
	if r.keep(tcp) {
		r.all.Go(func() { r.serveTCP(tcp) })
	}
}

// Close stops answering, and waits until nothing is under way. The sockets live on if somebody else has them too.
func (r *Resolver) Close() {
	r.stop()
	r.mu.Lock()
	for c := range r.closers {
		_ = c.Close()
	}
	r.closers = nil
	r.mu.Unlock()
	r.all.Wait()
}

// keep remembers what is to be closed, and closes it at once where it is too late for that.
func (r *Resolver) keep(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closers == nil {
		_ = c.Close()
		return false
	}
	r.closers[c] = true
	return true
}

func (r *Resolver) drop(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.closers, c)
	_ = c.Close()
}

func (r *Resolver) serveUDP(conn *net.UDPConn) {
	buf := make([]byte, maxQuestion)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if r.ended(err) {
			return
		}
		if err != nil {
			continue
		}
		r.handle(buf[:n], false, func(answer []byte) { _, _ = conn.WriteToUDPAddrPort(answer, from) })
	}
}

// ended tells whether a socket was closed; after another error it waits for a moment, so that a lasting one does no harm.
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

func (r *Resolver) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if r.ended(err) {
			return
		}
		if err != nil {
			continue
		}
		if !r.connections.take() {
			_ = conn.Close()
			continue
		}
		if !r.keep(conn) {
			return
		}
		r.all.Go(func() {
			defer r.connections.giveBack()
			defer r.drop(conn)
			r.serveConn(conn)
		})
	}
}

// serveConn answers on one connection. Answers may overtake each other, as they may by UDP.
func (r *Resolver) serveConn(conn net.Conn) {
	var write sync.Mutex
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idleTime))
		message, err := readMessage(conn, maxQuestion)
		if err != nil {
			return
		}
		r.handle(message, true, func(answer []byte) {
			write.Lock()
			defer write.Unlock()
			_ = conn.SetWriteDeadline(time.Now().Add(idleTime))
			_ = writeMessage(conn, answer)
		})
	}
}

// handle answers a message, at once or later.
func (r *Resolver) handle(message []byte, tcp bool, reply func([]byte)) {
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
	key, keeps := answers.KeyOf(from(routes), q.msg)
	if keeps {
		if kept := r.cfg.Kept.Get(key, time.Now()); kept != nil {
			reply(q.again(kept))
			return
		}
	}
	if !r.forwards.take() {
		reply(q.refused())
		return
	}
	if !r.cfg.Turns.take() {
		r.forwards.giveBack()
		reply(q.refused())
		return
	}
	r.all.Go(func() {
		defer r.forwards.giveBack()
		defer r.cfg.Turns.giveBack()
		answer := r.forward(q, routes)
		if keeps && answer != nil {
			r.cfg.Kept.Put(key, answer, time.Now())
		}
		reply(q.passedOn(answer))
	})
}

// Turns bounds how much goes on at the same time.
type Turns struct{ free chan struct{} }

// NewTurns makes so many.
func NewTurns(n int) *Turns { return &Turns{make(chan struct{}, n)} }

func (t *Turns) take() bool {
	select {
	case t.free <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t *Turns) giveBack() { <-t.free }
