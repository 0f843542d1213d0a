// Package hostport keeps the books on host ports: who has which, and which to hand out next.
//
// It is pure and counts only what natagent itself has handed out. Package hostport/hold asks the kernel about the rest.
// A Ledger is not safe for concurrent use.
package hostport

import (
	"errors"
	"iter"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// ErrNoTransport says that the kernel does not have the transport, SCTP as a rule.
var ErrNoTransport = errors.New("the kernel has no such transport")

// Range is a run of ports, both ends included.
type Range struct{ First, Last uint16 }

// Contains tells whether a port is in the range.
func (r Range) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Holder says who has a port on an address.
type Holder struct {
	IP    netip.Addr
	Owner string
	Name  string // the owner's name, for messages
}

type protoPort struct {
	proto publication.Protocol
	port  uint16
}

type protoIP struct {
	proto publication.Protocol
	ip    netip.Addr
}

// Allocator knows the ports that are handed out.
type Allocator struct {
	held   map[protoPort][]Holder
	runs   []run
	wholes map[netip.Addr]Holder
	last   map[protoIP]uint16
}

// run is a range of ports that one owner has.
type run struct {
	proto publication.Protocol
	ports Range
	by    Holder
}

// NewLedger makes an empty one.
func NewLedger() *Allocator {
	return &Allocator{held: map[protoPort][]Holder{}, wholes: map[netip.Addr]Holder{}, last: map[protoIP]uint16{}}
}

// HolderOf tells who has a port on an address, or on one that excludes it.
func (l *Allocator) HolderOf(proto publication.Protocol, ip netip.Addr, port uint16) (Holder, bool) {
	for _, h := range l.held[protoPort{proto, port}] {
		if publication.Overlap(h.IP, ip) {
			return h, true
		}
	}
	for _, r := range l.runs {
		if r.proto == proto && r.ports.Contains(port) && publication.Overlap(r.by.IP, ip) {
			return r.by, true
		}
	}
	h, whole := l.wholes[ip]
	return h, whole
}

// Add enters an owner's port.
func (l *Allocator) Add(owner, name string, proto publication.Protocol, ip netip.Addr, port uint16) {
	k := protoPort{proto, port}
	l.held[k] = append(l.held[k], Holder{ip, owner, name})
}

// Remove strikes a port out again.
func (l *Allocator) Remove(owner string, proto publication.Protocol, ip netip.Addr, port uint16) {
	k := protoPort{proto, port}
	var left []Holder
	for _, h := range l.held[k] {
		if h.Owner != owner || h.IP != ip {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		delete(l.held, k)
		return
	}
	l.held[k] = left
}

// Free gives the ports of a range that nobody has on any of the addresses, from the lowest to the highest.
func (l *Allocator) Free(proto publication.Protocol, ips []netip.Addr, r Range) iter.Seq[uint16] {
	return l.from(proto, ips, r, r.First)
}

// Next gives the free ports of a range, the one after the last that was handed out first, and goes once around. Tell it with
// Handed which one was taken.
func (l *Allocator) Next(proto publication.Protocol, ips []netip.Addr, r Range) iter.Seq[uint16] {
	start := r.First
	if last, ok := l.last[protoIP{proto, ips[0]}]; ok && r.Contains(last) && last != r.Last {
		start = last + 1
	}
	return l.from(proto, ips, r, start)
}

// MarkUsed remembers a port that Next gave as handed out.
func (l *Allocator) MarkUsed(proto publication.Protocol, ips []netip.Addr, port uint16) {
	for _, ip := range ips {
		l.last[protoIP{proto, ip}] = port
	}
}

func (l *Allocator) from(proto publication.Protocol, ips []netip.Addr, r Range, start uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		n := int(r.Last) - int(r.First) + 1
		for i := range n {
			port := uint16(int(r.First) + (int(start)-int(r.First)+i)%n)
			if l.free(proto, ips, port) && !yield(port) {
				return
			}
		}
	}
}

func (l *Allocator) free(proto publication.Protocol, ips []netip.Addr, port uint16) bool {
	for _, ip := range ips {
		if _, taken := l.HolderOf(proto, ip, port); taken {
			return false
		}
	}
	return true
}
