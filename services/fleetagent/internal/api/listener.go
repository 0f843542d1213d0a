package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of connections before their client is authenticated. One that has finished the handshake without a
// certificate is that of a host which joins.
const (
	maxHandshakes     = 256 // at the same time
	maxHandshakesNet  = 128 // of one IPv6 network: a host can use all addresses of its own
	maxHandshakesEach = 16  // of one address
	maxJoining        = 64
	maxJoiningNet     = 32
	maxJoiningEach    = 4
	handshakeTime     = 5 * time.Second
	acceptRetry       = 100 * time.Millisecond
	maxFailures       = 50 // to accept, in a row
	maxQueue          = 16
	protocol          = "h2"
	networkBits       = 64 // of IPv6
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
		handshakes: newLimiter(maxHandshakes, maxHandshakesNet, maxHandshakesEach),
		unknown:    newLimiter(maxJoining, maxJoiningNet, maxJoiningEach)}
}

// run accepts connections until the listener is closed. After it no connection is left that has not been passed on.
func (d *divided) run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var accepting sync.WaitGroup
	defer func() {
		cancel()
		accepting.Wait()
		_ = errors.Join(d.known.Close(), d.joining.Close()) // the listener is closed already, or cannot be used
	}()
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
		accepting.Go(func() {
			defer release()
			d.accept(ctx, conn)
		})
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
