// Package conntrack deletes conntrack entries, for packages publish and reconcile. No other package
// uses ctnetlink.
//
// The kernel decides the translation of a connection once. After a port is withdrawn or gets
// another target, a UDP client that continues to send would still reach the former container.
package conntrack

import (
	"context"
	"net/netip"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/nlfile"
)

// Selector selects the conntrack entries to delete: by default those of connections to a host port.
type Selector struct {
	Protocol port.Protocol
	Host     netip.AddrPort // what clients connect to; an unspecified address is any of the host's
	Target   netip.AddrPort // the container address and port
	Last     uint16         // the last port of a range; 0: one port, or a published address
	// NotToTarget selects connections to other destinations than Target, including the host itself.
	// Otherwise connections to Target are selected.
	NotToTarget bool
	// Missed, with NotToTarget, selects TCP and SCTP connections only if they started while the
	// rules were missing: they go to the host itself and have no reply. A retry of the client would
	// use the same entry.
	Missed bool
	// Leaves selects connections from these addresses to none of Inside and not to the host, that
	// are not translated and have no reply. They started while the rules were missing. Other fields
	// are ignored.
	Leaves netip.Prefix
	Inside []netip.Prefix
	// AnyEndpoint selects all connections from and to Target's address. Other fields are ignored.
	AnyEndpoint bool
	// Source and Denied select connections from Source whose destination, after DNAT, Denied reports.
	// local is true for addresses of the host. Other fields are ignored.
	Source netip.Addr
	// Into and Denied select connections to Into, after DNAT. Denied is called with the source address
	// and the destination port.
	Into   netip.Addr
	Denied func(protocol uint8, peer netip.AddrPort, local bool) bool
}

// ForAddresses returns the selectors for released addresses.
func ForAddresses(addresses []netip.Addr) []Selector {
	var out []Selector
	for _, a := range addresses {
		out = append(out, Selector{Target: netip.AddrPortFrom(a, 0), AnyEndpoint: true})
	}
	return out
}

// selectorOf returns the selector for the connections of a binding.
func selectorOf(b port.Binding) Selector {
	s := Selector{Protocol: b.Protocol, Host: b.HostPort(), Target: b.Target()}
	if b.IsRange() {
		s.Last = b.Host.Last
	}
	return s
}

// ForWithdrawn returns the selectors for withdrawn bindings.
func ForWithdrawn(bindings []port.Binding) []Selector {
	out := make([]Selector, 0, len(bindings))
	for _, b := range bindings {
		out = append(out, selectorOf(b))
	}
	return out
}

// ForPublished returns the selectors for new bindings. Only UDP needs them: TCP and SCTP clients
// reconnect.
func ForPublished(bindings []port.Binding) []Selector {
	var out []Selector
	for _, b := range bindings {
		if b.Protocol == port.UDP || b.IsAddress() {
			s := selectorOf(b)
			s.NotToTarget = true
			out = append(out, s)
		}
	}
	return out
}

// Missed returns the selectors for connections that started while rules were missing, which would
// get no reply as long as the client retries. leaving are the networks with masquerade or SNAT;
// inside are all networks.
func Missed(bindings []port.Binding, leaving, inside []netip.Prefix) []Selector {
	out := make([]Selector, 0, len(bindings)+len(leaving))
	for _, b := range bindings {
		if !b.Direct() {
			s := selectorOf(b)
			s.NotToTarget, s.Missed = true, true
			out = append(out, s)
		}
	}
	for _, p := range leaving {
		out = append(out, Selector{Leaves: p, Inside: inside})
	}
	return out
}

// Deleter deletes conntrack entries. The kernel walks its whole table for that, about 5 ms at its
// usual size, so requests during a walk share the next one.
type Deleter struct {
	ns     hostns.NS // of the host
	dial   func() (*netlink.Conn, error)
	direct direct

	mu      sync.Mutex
	pending *batch
	walking bool
}

// batch is a set of selectors that share one walk.
type batch struct {
	cuts []Selector
	done chan struct{}
	err  error
}

// New returns a deleter for a network namespace.
func New(ns hostns.NS) *Deleter {
	return &Deleter{ns: ns, dial: func() (*netlink.Conn, error) {
		return netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.Fd()})
	}}
}

// Selected deletes selected entries.
type Selected interface {
	Delete(ctx context.Context, cuts []Selector) error
}

// NewOn returns a deleter for the network namespace of the sockets that open returns. host is the host's own.
func NewOn(host hostns.NS, open func() (*os.File, error)) Selected {
	return &Deleter{ns: host, dial: func() (*netlink.Conn, error) {
		socket, err := open()
		if err != nil {
			return nil, err
		}
		return nlfile.Conn(socket)
	}}
}

// Delete deletes the selected entries and waits for that. If ctx ends first, they are deleted
// anyway.
func (c *Deleter) Delete(ctx context.Context, cuts []Selector) error {
	if len(cuts) == 0 {
		return nil
	}
	w := c.enter(cuts)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Deleter) enter(cuts []Selector) *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		c.pending = &batch{done: make(chan struct{})}
	}

	c.pending.cuts = append(c.pending.cuts, cuts...)
	w := c.pending
	if !c.walking {
		c.walking = true
		go c.work()
	}

	return w
}

// work walks the table until no batch is pending.
func (c *Deleter) work() {
	for {
		c.mu.Lock()
		w := c.pending
		c.pending = nil
		if w == nil {
			c.walking = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		w.err = c.cut(w.cuts)
		close(w.done)
	}
}

// cut deletes the selected entries. Selectors of both families share one walk.
func (c *Deleter) cut(cuts []Selector) error {
	byFamily := map[byte][]Selector{}
	for _, one := range cuts {
		byFamily[one.family()] = append(byFamily[one.family()], one)
	}
	matchers := map[byte]*matcher{}
	for family, some := range byFamily {
		matchers[family] = newMatcher(some, c.Local)
	}
	return c.deleteMatching(matchers)
}

// family returns the address family of the selected entries.
func (s Selector) family() byte {
	v6 := s.Host.Addr().Is6() || s.AnyEndpoint && s.Target.Addr().Is6() || s.Leaves.Addr().Is6() ||
		s.Source.Is6() || s.Into.Is6()
	return familyOf(v6)
}
