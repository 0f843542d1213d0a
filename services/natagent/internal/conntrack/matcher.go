package conntrack

import (
	"net"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
)

// flow holds the relevant fields of an entry.
type flow struct {
	proto    uint8
	dst      netip.AddrPort // original destination
	replySrc netip.AddrPort // source of the replies: the destination after DNAT
	from     netip.Addr     // original source
	back     netip.Addr     // destination of the replies
	replied  bool           // a reply was seen
	state    uint8          // TCP connections only
}

type protoPort struct {
	proto uint8
	port  uint16
}

// matcher decides which entries to delete.
type matcher struct {
	cuts  map[protoPort][]Selector
	ends  map[netip.Addr]bool     // connections from and to these addresses
	wide  []Selector              // selectors of port ranges and published addresses
	leave []Selector              // selectors with Leaves
	from  map[netip.Addr]Selector // selectors with Source
	into  map[netip.Addr]Selector // selectors with Into
	local func() map[netip.Addr]bool
	known map[netip.Addr]bool // result of local, on first use
}

func newMatcher(cuts []Selector, local func() map[netip.Addr]bool) *matcher {
	m := &matcher{cuts: map[protoPort][]Selector{}, ends: map[netip.Addr]bool{}, local: local,
		from: map[netip.Addr]Selector{}, into: map[netip.Addr]Selector{}}
	for _, c := range cuts {
		if c.AnyEndpoint {
			m.ends[c.Target.Addr()] = true
			continue
		}
		if c.Source.IsValid() {
			m.from[c.Source] = c
			continue
		}
		if c.Into.IsValid() {
			m.into[c.Into] = c
			continue
		}
		if c.Leaves.IsValid() {
			m.leave = append(m.leave, c)
			continue
		}
		if c.isWide() {
			m.wide = append(m.wide, c)
			continue
		}
		k := protoPort{c.Protocol.Number(), c.Host.Port()}
		m.cuts[k] = append(m.cuts[k], c)
	}

	return m
}

// only returns the protocol and port that all selectors share; ok is false if they differ.
func (m *matcher) only() (proto port.Protocol, port uint16, ok bool) {
	if len(m.cuts) != 1 || len(m.wide)+len(m.ends)+len(m.leave)+len(m.from)+len(m.into) > 0 {
		return "", 0, false
	}
	for k, c := range m.cuts {
		proto, port = c[0].Protocol, k.port
	}
	return proto, port, true
}

func (m *matcher) match(f flow) bool {
	if m.ends[f.from] || m.ends[f.replySrc.Addr()] {
		return true
	}
	if c, ok := m.from[f.from]; ok && c.Denied(f.proto, f.replySrc, m.isLocal(f.replySrc.Addr())) {
		return true
	}
	if c, ok := m.into[f.replySrc.Addr()]; ok &&
		c.Denied(f.proto, netip.AddrPortFrom(f.from, f.replySrc.Port()), m.isLocal(f.from)) {
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

// leaves reports whether a connection left one of the networks untranslated and without a reply.
func (m *matcher) leaves(f flow) bool {
	if f.replied || f.back != f.from || f.dst.Addr().IsMulticast() {
		return false
	}
	for _, c := range m.leave {
		if c.Leaves.Contains(f.from) {
			return !slices.ContainsFunc(c.Inside, func(p netip.Prefix) bool { return p.Contains(f.dst.Addr()) }) &&
				!m.isLocal(f.dst.Addr())
		}
	}
	return false
}

// cut reports whether a selector, with the port of f, selects f.
func (m *matcher) cut(c Selector, f flow) bool {
	if !c.Host.Addr().IsUnspecified() && c.Host.Addr() != f.dst.Addr() {
		return false
	}
	if !c.NotToTarget {
		return f.replySrc == c.Target
	}
	missed := f.replySrc == f.dst && !f.replied
	if c.Missed && f.proto != port.UDP.Number() && !missed {
		return false
	}
	return f.replySrc != c.Target && m.isLocal(f.dst.Addr())
}

// isWide reports whether c selects several ports or protocols.
func (c Selector) isWide() bool { return c.Last != 0 || c.Protocol == port.All }

// covers reports whether a wide selector has the protocol and port of f.
func (c Selector) covers(f flow) bool {
	// Only UDP entries are stale for a new address: clients of other protocols reconnect.
	if c.Protocol == port.All {
		return !c.NotToTarget || c.Missed || f.proto == port.UDP.Number()
	}
	return c.Protocol.Number() == f.proto && c.Host.Port() <= f.dst.Port() && f.dst.Port() <= c.Last
}

// of returns a wide selector with the port of f. Host port and container port are equal.
func (c Selector) of(f flow) Selector {
	c.Target = netip.AddrPortFrom(c.Target.Addr(), f.dst.Port())
	return c
}

// isLocal reports whether an address is the host's. Forwarded connections must not be deleted.
func (m *matcher) isLocal(a netip.Addr) bool {
	if m.known == nil {
		m.known = m.local()
	}
	return a.IsLoopback() || m.known[a]
}

// Local returns the host's addresses. On error there are none, and no stale entries to "all
// addresses" are deleted.
func (c *Deleter) Local() map[netip.Addr]bool {
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
