package hostport

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
)

// HolderOfRange returns the lowest allocated port of a range on an address or an overlapping one,
// and its owner. It iterates over allocated ports, since a range can have up to 65535.
func (l *Allocator) HolderOfRange(proto port.Protocol, ip netip.Addr, ports port.Range) (Holder, uint16, bool) {
	lowest, taken := ports.Last, false
	found := func(number uint16) { lowest, taken = min(lowest, number), true }
	if _, whole := l.addresses[ip]; whole {
		found(ports.First)
	}

	for at, some := range l.held {
		if at.proto == proto && ports.Has(at.port) &&
			slices.ContainsFunc(some, func(h Holder) bool { return port.Overlap(h.IP, ip) }) {
			found(at.port)
		}
	}

	for _, r := range l.ranges {
		first, last := max(r.ports.First, ports.First), min(r.ports.Last, ports.Last)
		if r.proto == proto && first <= last && port.Overlap(r.by.IP, ip) {
			found(first)
		}
	}

	if !taken {
		return Holder{}, 0, false
	}

	h, _ := l.HolderOf(proto, ip, lowest)
	return h, lowest, true
}

// HolderOfAddress returns the owner of an address or of a port on exactly that address. Ports on
// all addresses do not conflict: they remain in effect on the other addresses.
func (l *Allocator) HolderOfAddress(ip netip.Addr) (Holder, bool) {
	if h, taken := l.addresses[ip]; taken {
		return h, true
	}

	for _, r := range l.ranges {
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

// AddRange records a port range or a published address.
func (l *Allocator) AddRange(owner, name string, b port.Binding) {
	by := Holder{b.HostIP, owner, name}
	if b.IsAddress() {
		l.addresses[b.HostIP] = by
		return
	}
	l.ranges = append(l.ranges, allocatedRange{b.Protocol, b.Host, by})
}

// RemoveRanges removes all port ranges and published addresses of an owner.
func (l *Allocator) RemoveRanges(owner string) {
	var left []allocatedRange
	for _, r := range l.ranges {
		if r.by.Owner != owner {
			left = append(left, r)
		}
	}

	l.ranges = left
	for ip, h := range l.addresses {
		if h.Owner == owner {
			delete(l.addresses, ip)
		}
	}
}
