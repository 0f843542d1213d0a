// Package relay accepts connections on the host's IPv6 addresses for published TCP ports of
// IPv4-only containers, as docker-proxy does.
//
// The kernel cannot do this: nf_tables translates within one family, and BPF would bypass conntrack
// and the rules. One goroutine per connection copies data, spliced by the kernel if possible. It is
// optional: a port in use on IPv6 is skipped, and another publication or process takes precedence.
package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Limits of resources.
const (
	maxPorts       = 1024
	maxConnections = 1024
	dialTimeout    = 10 * time.Second
)

// Relays holds the relays of a host. It is safe for concurrent use.
type Relays struct {
	ns  hostns.NS
	log *slog.Logger
	// allows reports whether policies allow a client to connect to a container: these see connections of the host.
	allows func(client netip.Addr, target netip.AddrPort) bool

	slots chan struct{} // one per open connection

	mu     sync.Mutex
	ports  map[uint16]*relay
	owners map[string]map[uint16]bool // the ports of each owner
}

// relay is a host port with a relay.
type relay struct {
	owner    string
	target   netip.AddrPort
	listener net.Listener
	end      context.CancelFunc
	all      sync.WaitGroup
}

// New returns an empty set of relays, for clients that allows accepts.
func New(ns hostns.NS, log *slog.Logger, allows func(client netip.Addr, target netip.AddrPort) bool) *Relays {
	return &Relays{ns: ns, log: log, allows: allows, slots: make(chan struct{}, maxConnections),
		ports:  map[uint16]*relay{},
		owners: map[string]map[uint16]bool{}}
}

// wanted returns the ports to relay with their targets: those on all IPv4 addresses without allowed
// sources.
func wanted(bindings []port.Binding) map[uint16]netip.AddrPort {
	out := map[uint16]netip.AddrPort{}
	for _, b := range bindings {
		if b.Protocol == port.TCP && b.HostIP == netip.IPv4Unspecified() && !b.IsRange() && !b.Direct() &&
			b.Sources == "" {
			out[b.Host.First] = b.Target()
		}
	}

	for _, b := range bindings {
		if b.Protocol == port.TCP && b.HostIP.Is6() && !b.Direct() {
			delete(out, b.Host.First)
		}
	}

	return out
}

// Set replaces the relays of an owner.
func (r *Relays) Set(owner string, bindings []port.Binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := wanted(bindings)
	for number := range r.owners[owner] {
		if target, ok := want[number]; !ok || target != r.ports[number].target {
			r.drop(number)
		}
	}

	for number, target := range want {
		if r.ports[number] == nil && len(r.ports) < maxPorts {
			r.open(owner, number, target)
		}
	}
}

// Yield closes the relay of a port, so that the port can be bound on IPv6. It reports whether there
// was one.
func (r *Relays) Yield(number uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports[number] == nil {
		return false
	}
	r.drop(number)
	return true
}

// Close closes all relays.
func (r *Relays) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for number := range r.ports {
		r.drop(number)
	}
	return nil
}

// drop closes a relay and its connections.
func (r *Relays) drop(number uint16) {
	p := r.ports[number]
	delete(r.ports, number)
	if delete(r.owners[p.owner], number); len(r.owners[p.owner]) == 0 {
		delete(r.owners, p.owner)
	}
	p.end()
	_ = p.listener.Close()
	p.all.Wait()
}

func (r *Relays) open(owner string, number uint16, target netip.AddrPort) {
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), number).String()
	p := &relay{owner: owner, target: target}
	err := r.ns.Do(func() (err error) {
		p.listener, err = net.Listen("tcp6", at)
		return err
	})

	if err != nil {
		r.log.Debug("published port not relayed on IPv6", "port", at, "error", err)
		return
	}

	var ctx context.Context
	ctx, p.end = context.WithCancel(context.Background())
	r.ports[number] = p
	if r.owners[owner] == nil {
		r.owners[owner] = map[uint16]bool{}
	}

	r.owners[owner][number] = true
	p.all.Go(func() { r.serve(ctx, p) })
}

// serve accepts connections until the port is closed.
func (r *Relays) serve(ctx context.Context, p *relay) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // usually out of descriptors
			}
			continue
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			_ = c.Close()
			return
		}
		p.all.Go(func() {
			defer func() { <-r.slots }()
			r.forward(ctx, c, p.target)
		})
	}
}

// forward copies data between a client and the container until both are closed, or the port is.
func (r *Relays) forward(ctx context.Context, client net.Conn, target netip.AddrPort) {
	defer func() { _ = client.Close() }()
	if from, ok := client.RemoteAddr().(*net.TCPAddr); !ok ||
		!r.allows(from.AddrPort().Addr().Unmap().WithZone(""), target) {
		_ = client.(*net.TCPConn).SetLinger(0)
		return
	}

	var container net.Conn
	err := r.ns.Do(func() (err error) {
		container, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp4", target.String())
		return err
	})

	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0) // reset the client's connection, as the container would
		return
	}
	defer func() { _ = container.Close() }()

	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), container.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { copyStream(client, container) })
	copyStream(container, client)
	back.Wait()
}

// copyStream copies data in one direction and closes it at the end.
func copyStream(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.(*net.TCPConn).CloseWrite()
	}
	if err != nil { // forward a reset
		_ = to.(*net.TCPConn).SetLinger(0)
		_, _ = to.Close(), from.Close()
	}
}
