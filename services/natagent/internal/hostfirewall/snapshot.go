package hostfirewall

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// snapshot is one inspection of the host firewall. It caches what it reads.
type snapshot struct {
	reader *Reader
	tables map[bool][]table // by IPv4 (true) and IPv6
	inputs map[netip.Addr]input
}

// input is the interface through which packets of a source address arrive.
type input struct {
	name  string
	index int
}

func (t *Checker) snapshot() snapshot {
	return snapshot{reader: t.reader, tables: map[bool][]table{}, inputs: map[netip.Addr]input{}}
}

// each calls found for each blocked binding until it returns false. It skips published addresses,
// direct access and loopback bindings.
func (l snapshot) each(ctx context.Context, some []port.Binding, found func(port.Binding, Block) bool) {
	for _, b := range some {
		if b.IsAddress() || b.Direct() || b.HostIP.IsLoopback() {
			continue
		}
		p := l.packet(b)
		for _, other := range l.seeing(ctx, b.HostIP.Is4()) {
			if c, closed := other.closed(p); closed {
				if !found(b, c) {
					return
				}
				break
			}
		}
	}
}

// packet returns a packet from an allowed source of b.
func (l snapshot) packet(b port.Binding) Packet {
	source := ExternalAddr(b.HostIP.Is4())
	if from := b.Sources.Prefixes(); len(from) > 0 {
		source = from[0].Addr()
	}
	w, known := l.inputs[source]
	if !known {
		w.name, w.index = interfaceTo(l.reader.ns, source)
		l.inputs[source] = w
	}
	return Packet{Protocol: b.Protocol, Source: source, Target: b.HostPort(), Interface: w.name, Index: w.index}
}

// seeing returns the tables for IPv4 or IPv6.
func (l snapshot) seeing(ctx context.Context, v4 bool) []table {
	some, asked := l.tables[v4]
	if !asked {
		some = l.reader.tables(ctx, v4)
		l.tables[v4] = some
	}
	return some
}

// ExternalAddr returns an address of the documentation range that represents the internet.
func ExternalAddr(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{203, 0, 113, 1})
	}
	return netip.MustParseAddr("2001:db8::1")
}
