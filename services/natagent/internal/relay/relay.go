// Package relay answers on the host's IPv6 addresses for published TCP ports of containers that have IPv4 only, as Docker does by a
// process for each port.
//
// The kernel cannot: nf_tables translates addresses within one family, and to write another header by BPF would leave out the connection
// tracker, and the rules with it. So one goroutine a connection carries bytes, in the kernel where that can splice them. It is a service
// on top: a port that cannot be had on IPv6 is left alone, and whoever wants it there for himself gets it.
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

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Bounds, so that it does not take what others need.
const (
	mostPorts       = 1024
	mostConnections = 1024
	dialTime        = 10 * time.Second
)

// Relays are those of a host.
type Relays struct {
	ns  hostns.NS
	log *slog.Logger

	slots chan struct{} // one for each open connection

	mu     sync.Mutex
	ports  map[uint16]*port
	owners map[string]map[uint16]bool // the ports of each
}

// port is a host port that is answered on IPv6.
type port struct {
	owner    string
	target   netip.AddrPort
	listener net.Listener
	end      context.CancelFunc
	all      sync.WaitGroup
}

// New makes it. Nothing is listened on yet.
func New(ns hostns.NS, log *slog.Logger) *Relays {
	return &Relays{ns: ns, log: log, slots: make(chan struct{}, mostConnections), ports: map[uint16]*port{}, owners: map[string]map[uint16]bool{}}
}

// wanted are the ports to relay of what an owner publishes, and where they lead: those of all IPv4 addresses, for everybody.
func wanted(bindings []publication.Binding) map[uint16]netip.AddrPort {
	out := map[uint16]netip.AddrPort{}
	for _, b := range bindings {
		if b.Protocol == publication.TCP && b.HostIP == netip.IPv4Unspecified() && !b.IsRange() && !b.Direct() && b.Sources == "" {
			out[b.HostPort] = b.Target()
		}
	}
	for _, b := range bindings {
		if b.Protocol == publication.TCP && b.HostIP.Is6() && !b.Direct() {
			delete(out, b.HostPort)
		}
	}
	return out
}

// Set has an owner's ports be relayed, and no others of his.
func (r *Relays) Set(owner string, bindings []publication.Binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := wanted(bindings)
	for number := range r.owners[owner] {
		if target, ok := want[number]; !ok || target != r.ports[number].target {
			r.drop(number)
		}
	}
	for number, target := range want {
		if r.ports[number] == nil && len(r.ports) < mostPorts {
			r.open(owner, number, target)
		}
	}
}

// Yield gives a port up, for who wants it on IPv6 for himself; false if it is not relayed.
func (r *Relays) Yield(number uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports[number] == nil {
		return false
	}
	r.drop(number)
	return true
}

// Close ends all.
func (r *Relays) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for number := range r.ports {
		r.drop(number)
	}
	return nil
}

// drop closes a port and what goes through it.
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
	p := &port{owner: owner, target: target}
	err := r.ns.Do(func() (err error) {
		p.listener, err = net.Listen("tcp6", at)
		return err
	})
	if err != nil {
		r.log.Debug("a published port is not answered on IPv6", "port", at, "error", err)
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

// serve takes connections until the port is closed.
func (r *Relays) serve(ctx context.Context, p *port) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // too few descriptors, as a rule
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
			r.carry(ctx, c, p.target)
		})
	}
}

// carry connects a client to the container until both have ended, or the port is closed.
func (r *Relays) carry(ctx context.Context, client net.Conn, target netip.AddrPort) {
	defer func() { _ = client.Close() }()
	var container net.Conn
	err := r.ns.Do(func() (err error) {
		container, err = (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp4", target.String())
		return err
	})
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0) // the client is told by a reset, as the container would
		return
	}
	defer func() { _ = container.Close() }()

	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), container.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { pour(client, container) })
	pour(container, client)
	back.Wait()
}

// pour carries bytes one way, and the end of them.
func pour(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.(*net.TCPConn).CloseWrite()
	}
	if err != nil { // a reset on one side is one on the other
		_ = to.(*net.TCPConn).SetLinger(0)
		_, _ = to.Close(), from.Close()
	}
}
