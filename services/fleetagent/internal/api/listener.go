package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of connections before their client is authenticated. One that has finished the handshake without a
// certificate is that of a host which joins.
const (
	maxHandshakes     = 256 // at the same time
	maxHandshakesEach = 16  // of one address
	maxJoining        = 64
	maxJoiningEach    = 4
	handshakeTime     = 5 * time.Second
	acceptRetry       = 100 * time.Millisecond
	maxFailures       = 50 // to accept, in a row
	maxQueue          = 16
	protocol          = "h2"
	sourceBits6       = 64 // an IPv6 host can use all addresses of its network
)

// secured is a connection after its handshake.
type secured struct {
	*tls.Conn
	state   tls.ConnectionState
	release func() // once
}

// Close closes the connection.
func (c *secured) Close() error {
	c.release()
	return c.Conn.Close()
}

// divided divides the connections of a listener into those with a certificate of the fleet and those without.
type divided struct {
	config        *tls.Config
	handshakeTime time.Duration
	known         *queue
	joining       *queue
	handshakes    limiter
	unknown       limiter
}

// divide returns the division of a listener. run feeds it.
func divide(l net.Listener, config *tls.Config, limit time.Duration) *divided {
	return &divided{config: config, handshakeTime: limit, known: newQueue(l), joining: newQueue(l),
		handshakes: newLimiter(maxHandshakes, maxHandshakesEach), unknown: newLimiter(maxJoining, maxJoiningEach)}
}

// run accepts connections until the listener is closed.
func (d *divided) run(ctx context.Context, l net.Listener) error {
	for failures := 0; ; {
		conn, err := l.Accept()
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures > maxFailures {
				return err
			}
			time.Sleep(acceptRetry)
			continue
		}
		failures = 0
		release, ok := d.handshakes.take(conn)
		if !ok {
			_ = conn.Close()
			continue
		}
		go func() {
			defer release()
			d.accept(ctx, conn)
		}()
	}
}

// accept does the handshake of a connection and passes it on.
func (d *divided) accept(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, d.handshakeTime)
	defer cancel()
	c := tls.Server(conn, d.config)
	if err := c.HandshakeContext(ctx); err != nil || c.ConnectionState().NegotiatedProtocol != protocol {
		_ = conn.Close() // the client sees the alert
		return
	}
	s := &secured{Conn: c, state: c.ConnectionState(), release: func() {}}
	if len(s.state.PeerCertificates) > 0 { // verified by the handshake
		d.known.put(ctx, s)
		return
	}
	release, ok := d.unknown.take(conn)
	if !ok {
		_ = conn.Close()
		return
	}
	s.release = release
	d.joining.put(ctx, s)
}

// queue is a listener whose connections are put into it.
type queue struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(l net.Listener) *queue {
	return &queue{Listener: l, conns: make(chan net.Conn, maxQueue), closed: make(chan struct{})}
}

func (q *queue) put(ctx context.Context, conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.closed:
		_ = conn.Close()
	case <-ctx.Done():
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The other queue of the listener ends too.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	for {
		select {
		case conn := <-q.conns:
			_ = conn.Close()
			continue
		default:
		}
		return q.Listener.Close()
	}
}

// limiter limits connections, in all and for each source.
type limiter struct {
	all, each int
	mu        *sync.Mutex
	sources   map[netip.Prefix]int
	total     *int
}

func newLimiter(all, each int) limiter {
	return limiter{all: all, each: each, mu: &sync.Mutex{}, sources: map[netip.Prefix]int{}, total: new(int)}
}

// take counts a connection until release is called. It reports false if there are too many.
func (l limiter) take(conn net.Conn) (release func(), ok bool) {
	source := sourceOf(conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.total >= l.all || l.sources[source] >= l.each {
		return nil, false
	}
	*l.total++
	l.sources[source]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		*l.total--
		if l.sources[source]--; l.sources[source] == 0 {
			delete(l.sources, source)
		}
	}), true
}

// sourceOf returns the host of a connection's client.
func sourceOf(conn interface{ RemoteAddr() net.Addr }) netip.Prefix {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	address := a.Addr().Unmap()
	bits := address.BitLen()
	if address.Is6() {
		bits = sourceBits6
	}
	return netip.PrefixFrom(address.WithZone(""), bits).Masked()
}

// handshaken are the credentials of connections whose handshake was done before.
type handshaken struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s, ok := conn.(*secured)
	if !ok {
		return nil, nil, fault.New(fault.Internal, "connection", "has no handshake")
	}
	return s, credentials.TLSInfo{State: s.state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ClientHandshake implements credentials.TransportCredentials. It is not used.
func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, fault.New(fault.Internal, "connection", "is not that of a server")
}

// Info implements credentials.TransportCredentials.
func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (h handshaken) Clone() credentials.TransportCredentials { return h }

// OverrideServerName implements credentials.TransportCredentials.
func (handshaken) OverrideServerName(string) error { return nil }
