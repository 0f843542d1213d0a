package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// idleTime is the time for which an idle connection is kept. Servers close them after about ten
	// seconds.
	idleTime = 8 * time.Second
	// maxIdle bounds the idle connections to one server, maxOpen all of them.
	maxIdle = 8
	maxOpen = 1024
	// warnInterval is the interval between warnings about one server.
	warnInterval = time.Minute
)

// TLS connects to servers of DNS over TLS (RFC 7858) from the network namespace of this process. A
// connection is used for one question at a time, and kept for the next one. The zero value is not valid.
type TLS struct {
	roots    *x509.CertPool
	sessions tls.ClientSessionCache
	log      *slog.Logger

	mu      sync.Mutex
	servers map[tlsServer]*tlsPool
	warned  map[tlsServer]time.Time
	closed  bool
}

// tlsServer identifies a server.
type tlsServer struct {
	at   netip.AddrPort
	name string // of its certificate
}

// tlsPool holds the connections to one server.
type tlsPool struct {
	slots chan struct{} // bounds open connections
	idle  []*idleConn
	users int
}

type idleConn struct {
	net.Conn
	expire *time.Timer
}

// NewTLS returns a dialer that verifies certificates with the given roots; nil means the system's.
func NewTLS(roots *x509.CertPool, log *slog.Logger) *TLS {
	return &TLS{roots: roots, log: log, sessions: tls.NewLRUClientSessionCache(64),
		servers: map[tlsServer]*tlsPool{}, warned: map[tlsServer]time.Time{}}
}

// Dialer returns a function that connects to a server whose certificate has a name, or without a name
// its address.
func (d *TLS) Dialer(name string) func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, _ string, server netip.AddrPort) (net.Conn, error) {
		return d.dial(ctx, tlsServer{server, name})
	}
}

func (d *TLS) dial(ctx context.Context, s tlsServer) (net.Conn, error) {
	pool := d.enter(s)
	select {
	case pool.slots <- struct{}{}:
	case <-ctx.Done():
		d.leave(s, pool)
		return nil, ctx.Err()
	}
	if conn := d.takeIdle(pool); conn != nil {
		return &tlsConn{Conn: conn, dialer: d, server: s, pool: pool, used: true}, nil
	}

	name := s.name
	if name == "" {
		name = s.at.Addr().WithZone("").String()
	}
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: d.roots, MinVersion: tls.VersionTLS12,
		ClientSessionCache: d.sessions}}
	conn, err := dialer.DialContext(ctx, "tcp", s.at.String())
	if err != nil {
		<-pool.slots
		d.leave(s, pool)
		d.warn(s, name, err)
		return nil, err
	}
	return &tlsConn{Conn: conn, dialer: d, server: s, pool: pool}, nil
}

// warn logs a failed connection, since an invalid certificate is a mistake of the administrator.
func (d *TLS) warn(s tlsServer, name string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now := time.Now()
	d.mu.Lock()
	for other, at := range d.warned {
		if now.Sub(at) >= warnInterval {
			delete(d.warned, other)
		}
	}
	_, known := d.warned[s]
	if !known {
		d.warned[s] = now
	}
	d.mu.Unlock()
	if !known {
		d.log.Warn("cannot connect to name server over TLS", "server", s.at, "certificate", name, "error", err)
	}
}

// enter returns the pool of a server for one user.
func (d *TLS) enter(s tlsServer) *tlsPool {
	d.mu.Lock()
	defer d.mu.Unlock()
	pool := d.servers[s]
	if pool == nil {
		pool = &tlsPool{slots: make(chan struct{}, maxOpen)}
		d.servers[s] = pool
	}
	pool.users++
	return pool
}

// leave ends a use of a pool, which is forgotten without users and connections.
func (d *TLS) leave(s tlsServer, pool *tlsPool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pool.users--
	d.forget(s, pool)
}

// forget removes an unused pool. mu must be held.
func (d *TLS) forget(s tlsServer, pool *tlsPool) {
	if pool.users == 0 && len(pool.idle) == 0 && d.servers[s] == pool {
		delete(d.servers, s)
	}
}

// takeIdle returns the idle connection that was used last, or nil.
func (d *TLS) takeIdle(pool *tlsPool) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(pool.idle)
	if n == 0 {
		return nil
	}
	c := pool.idle[n-1]
	pool.idle = pool.idle[:n-1]
	c.expire.Stop()
	return c.Conn
}

// keep keeps a connection for the next question, or closes it.
func (d *TLS) keep(s tlsServer, pool *tlsPool, conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(pool.idle) >= maxIdle || conn.SetDeadline(time.Time{}) != nil {
		_ = conn.Close()
		return
	}
	c := &idleConn{Conn: conn}
	c.expire = time.AfterFunc(idleTime, func() { d.expire(s, pool, c) })
	pool.idle = append(pool.idle, c)
}

func (d *TLS) expire(s tlsServer, pool *tlsPool, c *idleConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, other := range pool.idle {
		if other == c {
			pool.idle = append(pool.idle[:i], pool.idle[i+1:]...)
			_ = c.Close()
			break
		}
	}
	d.forget(s, pool)
}

// Close closes all idle connections. Later ones are closed after their question.
func (d *TLS) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for s, pool := range d.servers {
		for _, c := range pool.idle {
			c.expire.Stop()
			_ = c.Close()
		}
		pool.idle = nil
		d.forget(s, pool)
	}
}

// tlsConn is a connection during one question. Close keeps the connection, unless it failed.
type tlsConn struct {
	net.Conn
	dialer *TLS
	server tlsServer
	pool   *tlsPool
	used   bool

	mu     sync.Mutex
	failed bool
	closed bool
}

// Used reports whether the connection was used for an earlier question. The server can have closed it.
func (c *tlsConn) Used() bool { return c.used }

// Fail makes Close close the connection, as its next message may be the response to an earlier
// question.
func (c *tlsConn) Fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

// SetDeadline implements net.Conn. It does nothing after Close, when another question can use the
// connection.
func (c *tlsConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *tlsConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var err error
	if c.failed {
		err = c.Conn.Close()
	} else {
		c.dialer.keep(c.server, c.pool, c.Conn)
	}
	<-c.pool.slots
	c.dialer.leave(c.server, c.pool)
	return err
}
