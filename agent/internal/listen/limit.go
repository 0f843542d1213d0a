package listen

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// The limits of a TCP listener. They are far above what administrators need, and far below the
// descriptor limit of the process.
const (
	maxOpen            = 1024 // connections
	maxOpenOfOne       = 256  // for one address
	maxSilent          = 256  // connections that have not authenticated
	maxSilentOfOne     = 64   // for one address
	refusalLogInterval = time.Second
)

// Limited is a TCP listener that immediately closes connections over its limits.
type Limited struct {
	net.Listener
	log *slog.Logger

	mu           sync.Mutex
	open, silent map[string]int // by address
	opened, mute int            // all of them
	logged       time.Time
	refused      int // since then
}

// Limit limits the connections of a TCP listener. Unix sockets, which are protected by their file
// mode, are not limited.
func Limit(l net.Listener, log *slog.Logger) net.Listener {
	if _, ok := l.(*net.TCPListener); !ok {
		return l
	}
	return &Limited{Listener: l, log: log, open: map[string]int{}, silent: map[string]int{}}
}

// Accept waits for a connection within the limits.
func (l *Limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			address = conn.RemoteAddr().String()
		}
		if l.admit(address) {
			return &Conn{Conn: conn, listener: l, address: address, silent: true}, nil
		}
		_ = conn.Close()
	}
}

// admit counts a new connection and reports whether it is within the limits.
func (l *Limited) admit(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened >= maxOpen || l.open[address] >= maxOpenOfOne || l.mute >= maxSilent ||
		l.silent[address] >= maxSilentOfOne {
		l.refuse(address)
		return false
	}
	l.opened++
	l.mute++
	l.open[address]++
	l.silent[address]++
	return true
}

// refuse logs rejected connections, at most one line a second. mu must be held.
func (l *Limited) refuse(address string) {
	l.refused++
	if now := time.Now(); now.Sub(l.logged) >= refusalLogInterval {
		l.log.Warn("connections rejected, too many are open", "address", l.Addr().String(), "peer", address, "refused",
			l.refused,
			"open", l.opened, "unauthenticated", l.mute)
		l.logged, l.refused = now, 0
	}
}

func less(counts map[string]int, address string) {
	if counts[address]--; counts[address] == 0 {
		delete(counts, address)
	}
}

// Conn is a connection that counts towards the limits of its listener.
type Conn struct {
	net.Conn
	listener *Limited
	address  string

	silent, closed bool // guarded by the listener's lock
}

// Authenticated marks the connection as authenticated.
func (c *Conn) Authenticated() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.markAuthenticated()
}

// markAuthenticated removes the connection from the silent ones. mu must be held.
func (c *Conn) markAuthenticated() {
	if c.silent {
		c.silent = false
		c.listener.mute--
		less(c.listener.silent, c.address)
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	if !c.closed {
		c.closed = true
		c.markAuthenticated()
		c.listener.opened--
		less(c.listener.open, c.address)
	}
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
