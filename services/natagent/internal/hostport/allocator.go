// Package hostport records the host ports that natagent has allocated, and selects ephemeral ports.
// Package publish uses it.
//
// It performs no I/O; package portsocket checks ports against the kernel. An Allocator is not safe
// for concurrent use.
package hostport

import (
	"errors"
	"iter"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// ErrNoTransport means that the kernel does not support the transport, usually SCTP.
var ErrNoTransport = errors.New("transport not supported by the kernel")

// Holder is the owner of a port on an address.
type Holder struct {
	IP    netip.Addr
	Owner string
	Name  string // the owner's name, for messages
}

type protoPort struct {
	proto port.Protocol
	port  uint16
}

type protoIP struct {
	proto port.Protocol
	ip    netip.Addr
}

// Allocator records allocated ports.
type Allocator struct {
	held      map[protoPort][]Holder
	ranges    []allocatedRange
	addresses map[netip.Addr]Holder
	last      map[protoIP]uint16
}

// allocatedRange is a port range of one owner.
type allocatedRange struct {
	proto port.Protocol
	ports port.Range
	by    Holder
}

// NewAllocator returns an empty allocator.
func NewAllocator() *Allocator {
	return &Allocator{held: map[protoPort][]Holder{}, addresses: map[netip.Addr]Holder{}, last: map[protoIP]uint16{}}
}

// HolderOf returns the owner of a port on an address or an overlapping one.
func (l *Allocator) HolderOf(proto port.Protocol, ip netip.Addr, number uint16) (Holder, bool) {
	for _, h := range l.held[protoPort{proto, number}] {
		if port.Overlap(h.IP, ip) {
			return h, true
		}
	}

	for _, r := range l.ranges {
		if r.proto == proto && r.ports.Has(number) && port.Overlap(r.by.IP, ip) {
			return r.by, true
		}
	}

	h, whole := l.addresses[ip]
	return h, whole
}

// Add records a port of an owner.
func (l *Allocator) Add(owner, name string, proto port.Protocol, ip netip.Addr, number uint16) {
	k := protoPort{proto, number}
	l.held[k] = append(l.held[k], Holder{ip, owner, name})
}

// Remove removes a port of an owner.
func (l *Allocator) Remove(owner string, proto port.Protocol, ip netip.Addr, number uint16) {
	k := protoPort{proto, number}
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

// Free yields the ports of a range that are free on all addresses, in ascending order.
func (l *Allocator) Free(proto port.Protocol, ips []netip.Addr, r port.Range) iter.Seq[uint16] {
	return l.from(proto, ips, r, r.First)
}

// Next yields the free ports of a range once, starting after the last one used. Report the port
// taken with MarkUsed.
func (l *Allocator) Next(proto port.Protocol, ips []netip.Addr, r port.Range) iter.Seq[uint16] {
	start := r.First
	if last, ok := l.last[protoIP{proto, ips[0]}]; ok && r.Has(last) && last != r.Last {
		start = last + 1
	}
	return l.from(proto, ips, r, start)
}

// MarkUsed records a port of Next as used.
func (l *Allocator) MarkUsed(proto port.Protocol, ips []netip.Addr, number uint16) {
	for _, ip := range ips {
		l.last[protoIP{proto, ip}] = number
	}
}

func (l *Allocator) from(proto port.Protocol, ips []netip.Addr, r port.Range, start uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		n := r.Len()
		for i := range n {
			number := uint16(int(r.First) + (int(start)-int(r.First)+i)%n)
			if l.free(proto, ips, number) && !yield(number) {
				return
			}
		}
	}
}

func (l *Allocator) free(proto port.Protocol, ips []netip.Addr, number uint16) bool {
	for _, ip := range ips {
		if _, taken := l.HolderOf(proto, ip, number); taken {
			return false
		}
	}
	return true
}
