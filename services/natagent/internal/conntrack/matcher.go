package conntrack

import (
	"net"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// flow is what matters of an entry: where the client sent to, and from where answers come.
type flow struct {
	proto  uint8
	dst    netip.AddrPort // original destination
	answer netip.AddrPort // source of the replies: where the flow was led
	from   netip.Addr     // original source
	back   netip.Addr     // where replies are sent to
	heard  bool           // a reply has been seen
	state  uint8          // of a TCP connection
}

type protoPort struct {
	proto uint8
	port  uint16
}

// matcher finds the flows that are to be cut.
type matcher struct {
	cuts  map[protoPort][]Selector
	ends  map[netip.Addr]bool // flows that one of these is at an end of
	wide  []Selector          // of runs of ports and of whole addresses
	leave []Selector          // of networks
	local func() map[netip.Addr]bool
	known map[netip.Addr]bool // what local gave, once it was needed
}

func newMatcher(cuts []Selector, local func() map[netip.Addr]bool) *matcher {
	m := &matcher{cuts: map[protoPort][]Selector{}, ends: map[netip.Addr]bool{}, local: local}
	for _, c := range cuts {
		if c.AnyEndpoint {
			m.ends[c.Target.Addr()] = true
			continue
		}
		if c.Leaves.IsValid() {
			m.leave = append(m.leave, c)
			continue
		}
		if c.wide() {
			m.wide = append(m.wide, c)
			continue
		}
		k := protoPort{c.Protocol.Number(), c.Host.Port()}
		m.cuts[k] = append(m.cuts[k], c)
	}
	return m
}

// only gives the protocol and port that all cuts have in common; ok is false if there are several.
func (m *matcher) only() (proto publication.Protocol, port uint16, ok bool) {
	if len(m.cuts) != 1 || len(m.wide)+len(m.ends)+len(m.leave) > 0 {
		return "", 0, false
	}
	for k, c := range m.cuts {
		proto, port = c[0].Protocol, k.port
	}
	return proto, port, true
}

func (m *matcher) match(f flow) bool {
	if m.ends[f.from] || m.ends[f.answer.Addr()] {
		return true
	}
	for _, c := range m.cuts[protoPort{f.proto, f.dst.Port()}] {
		if m.cut(c, f) {
			return true
		}
	}
	for _, c := range m.wide {
		if c.covers(f) && m.cut(c.of(f), f) {
			return true
		}
	}
	return m.leaves(f)
}

// leaves tells whether a flow left one of the networks untranslated, and without an answer.
func (m *matcher) leaves(f flow) bool {
	if f.heard || f.back != f.from || f.dst.Addr().IsMulticast() {
		return false
	}
	for _, c := range m.leave {
		if c.Leaves.Contains(f.from) {
			return !slices.ContainsFunc(c.Inside, func(p netip.Prefix) bool { return p.Contains(f.dst.Addr()) }) && !m.isLocal(f.dst.Addr())
		}
	}
	return false
}

// cut tells whether a cut, of a flow's very port, cuts the flow.
func (m *matcher) cut(c Selector, f flow) bool {
	if !c.Host.Addr().IsUnspecified() && c.Host.Addr() != f.dst.Addr() {
		return false
	}
	if !c.NotToTarget {
		return f.answer == c.Target
	}
	missed := f.answer == f.dst && !f.heard
	if c.Missed && f.proto != publication.UDP.Number() && !missed {
		return false
	}
	return f.answer != c.Target && m.isLocal(f.dst.Addr())
}

func (c Selector) wide() bool { return c.Last != 0 || c.Protocol == publication.All }

// covers tells whether a wide cut is about a flow's protocol and port.
func (c Selector) covers(f flow) bool {
	if c.Protocol == publication.All { // of a new one only UDP is stale, as clients of the others begin anew by themselves
		return !c.NotToTarget || c.Missed || f.proto == publication.UDP.Number()
	}
	return c.Protocol.Number() == f.proto && c.Host.Port() <= f.dst.Port() && f.dst.Port() <= c.Last
}

// of is a wide cut as that of a flow's port alone. Flows keep the numbers of their ports.
func (c Selector) of(f flow) Selector {
	c.Target = netip.AddrPortFrom(c.Target.Addr(), f.dst.Port())
	return c
}

// isLocal tells whether an address is the host's, so that flows that only pass through are left alone.
func (m *matcher) isLocal(a netip.Addr) bool {
	if m.known == nil {
		m.known = m.local()
	}
	return a.IsLoopback() || m.known[a]
}

// local lists the host's addresses. Without them no stale flow to "all addresses" is cut.
func (c *Deleter) local() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	_ = c.ns.Do(func() error {
		addrs, err := net.InterfaceAddrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[p.Addr().Unmap()] = true
			}
		}
		return err
	})
	return out
}
