package conntrack

import (
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/publication"
)

// flow is what matters of an entry: where the client sent to, and from where answers come.
type flow struct {
	proto  uint8
	dst    netip.AddrPort // original destination
	answer netip.AddrPort // source of the replies: where the flow was led
}

type protoPort struct {
	proto uint8
	port  uint16
}

// matcher finds the flows that are to be cut.
type matcher struct {
	cuts  map[protoPort][]Cut
	local func() map[netip.Addr]bool
	known map[netip.Addr]bool // what local gave, once it was needed
}

func newMatcher(cuts []Cut, local func() map[netip.Addr]bool) *matcher {
	m := &matcher{cuts: map[protoPort][]Cut{}, local: local}
	for _, c := range cuts {
		k := protoPort{c.Protocol.Number(), c.Host.Port()}
		m.cuts[k] = append(m.cuts[k], c)
	}
	return m
}

// only gives the protocol and port that all cuts have in common; ok is false if there are several.
func (m *matcher) only() (proto publication.Protocol, port uint16, ok bool) {
	if len(m.cuts) != 1 {
		return "", 0, false
	}
	for k, c := range m.cuts {
		proto, port = c[0].Protocol, k.port
	}
	return proto, port, true
}

func (m *matcher) match(f flow) bool {
	for _, c := range m.cuts[protoPort{f.proto, f.dst.Port()}] {
		if !c.Host.Addr().IsUnspecified() && c.Host.Addr() != f.dst.Addr() {
			continue
		}
		if c.Stale && f.answer != c.Target && m.isLocal(f.dst.Addr()) || !c.Stale && f.answer == c.Target {
			return true
		}
	}
	return false
}

// isLocal tells whether an address is the host's, so that flows that only pass through are left alone.
func (m *matcher) isLocal(a netip.Addr) bool {
	if m.known == nil {
		m.known = m.local()
	}
	return a.IsLoopback() || m.known[a]
}

// local lists the host's addresses. Without them no stale flow to "all addresses" is cut.
func (c *Cutter) local() map[netip.Addr]bool {
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
