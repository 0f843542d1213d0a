package hostfirewall

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// snapshot is one look at the host's firewalls: what of them is needed is asked for once.
type snapshot struct {
	reader *Reader
	tables map[bool][]table // of IPv4, or not
	ways   map[netip.Addr]way
}

// way is the interface that an address comes in by.
type way struct {
	name  string
	index int
}

func (t *Checker) look() snapshot {
	return snapshot{reader: t.reader, tables: map[bool][]table{}, ways: map[netip.Addr]way{}}
}

// each calls found for those that a firewall is closed at, until it answers false. Whole addresses, and what is not led by the host, are
// left out.
func (l snapshot) each(ctx context.Context, some []publication.Binding, found func(publication.Binding, Block) bool) {
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

// packet is one from somebody who may reach what is published.
func (l snapshot) packet(b publication.Binding) Packet {
	source := ExternalAddr(b.HostIP.Is4())
	if from := b.Sources.Prefixes(); len(from) > 0 {
		source = from[0].Addr()
	}
	w, known := l.ways[source]
	if !known {
		w.name, w.index = interfaceTo(l.reader.ns, source)
		l.ways[source] = w
	}
	return Packet{Protocol: b.Protocol, Source: source, Target: b.Host(), Interface: w.name, Index: w.index}
}

// seeing are the tables that see IPv4, or IPv6.
func (l snapshot) seeing(ctx context.Context, v4 bool) []table {
	some, asked := l.tables[v4]
	if !asked {
		some = l.reader.tables(ctx, v4)
		l.tables[v4] = some
	}
	return some
}

// ExternalAddr is an address that stands for somebody in the internet; documentation is written with it.
func ExternalAddr(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{203, 0, 113, 1})
	}
	return netip.MustParseAddr("2001:db8::1")
}
