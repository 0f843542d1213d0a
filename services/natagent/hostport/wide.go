package hostport

import (
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/publication"
)

// HolderOfRun tells who has any port of a range on an address, or on one that excludes it.
func (l *Ledger) HolderOfRun(proto publication.Protocol, ip netip.Addr, ports Range) (Holding, uint16, bool) {
	for port := int(ports.First); port <= int(ports.Last); port++ {
		if h, taken := l.Holder(proto, ip, uint16(port)); taken {
			return h, uint16(port), true
		}
	}
	return Holding{}, 0, false
}

// HolderOfAddress tells who has an address, or anything that is published on just it. What is published on all addresses does not
// keep one of them from being handed out whole: it goes on on the others.
func (l *Ledger) HolderOfAddress(ip netip.Addr) (Holding, bool) {
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
	return Holding{}, false
}

// TakeWide enters an owner's run of ports, or its whole address.
func (l *Ledger) TakeWide(owner, name string, b publication.Binding) {
	by := Holding{b.HostIP, owner, name}
	if b.Whole() {
		l.wholes[b.HostIP] = by
		return
	}
	l.runs = append(l.runs, run{b.Protocol, Range{b.HostPort, b.LastPort()}, by})
}

// GiveWide strikes all runs and addresses of an owner out again.
func (l *Ledger) GiveWide(owner string) {
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
