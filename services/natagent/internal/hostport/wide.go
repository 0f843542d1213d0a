package hostport

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// HolderOfRange tells who has the lowest port of a range that is taken on an address, or on one that excludes it. It looks at what is
// handed out, as a range may be of all the ports that there are.
func (l *Allocator) HolderOfRange(proto publication.Protocol, ip netip.Addr, ports Range) (Holder, uint16, bool) {
	lowest, taken := ports.Last, false
	found := func(port uint16) { lowest, taken = min(lowest, port), true }
	if _, whole := l.wholes[ip]; whole {
		found(ports.First)
	}
	for at, some := range l.held {
		if at.proto == proto && ports.Contains(at.port) && slices.ContainsFunc(some, func(h Holder) bool { return publication.Overlap(h.IP, ip) }) {
			found(at.port)
		}
	}
	for _, r := range l.runs {
		first, last := max(r.ports.First, ports.First), min(r.ports.Last, ports.Last)
		if r.proto == proto && first <= last && publication.Overlap(r.by.IP, ip) {
			found(first)
		}
	}
	if !taken {
		return Holder{}, 0, false
	}
	h, _ := l.HolderOf(proto, ip, lowest)
	return h, lowest, true
}

// HolderOfAddress tells who has an address, or anything that is published on just it. What is published on all addresses does not
// keep one of them from being handed out whole: it goes on on the others.
func (l *Allocator) HolderOfAddress(ip netip.Addr) (Holder, bool) {
	if h, taken := l.wholes[ip]; taken {
		return h, true
	}
	for _, r := range l.runs {
		if r.by.IP == ip {
			return r.by, true
		}
	}
	for _, some := range l.held {
		for _, h := range some {
			if h.IP == ip {
				return h, true
			}
		}
	}
	return Holder{}, false
}

// TakeWide enters an owner's run of ports, or its whole address.
func (l *Allocator) TakeWide(owner, name string, b publication.Binding) {
	by := Holder{b.HostIP, owner, name}
	if b.IsAddress() {
		l.wholes[b.HostIP] = by
		return
	}
	l.runs = append(l.runs, run{b.Protocol, Range{b.HostPort, b.LastPort()}, by})
}

// GiveWide strikes all runs and addresses of an owner out again.
func (l *Allocator) GiveWide(owner string) {
	var left []run
	for _, r := range l.runs {
		if r.by.Owner != owner {
			left = append(left, r)
		}
	}
	l.runs = left
	for ip, h := range l.wholes {
		if h.Owner == owner {
			delete(l.wholes, ip)
		}
	}
}
