package inputpolicy

import (
	"context"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/services/natagent/publication"
)

// look is one look at the host's firewalls: what of them is needed is read once.
type look struct {
	reader *Reader
	names  func(context.Context) []tableName
	tables map[bool][]table // of IPv4, or not
}

func (t *Teller) look() look {
	l := look{reader: t.reader, tables: map[bool][]table{}}
	var names []tableName
	var once sync.Once
	l.names = func(ctx context.Context) []tableName {
		once.Do(func() { names = t.reader.names(ctx) })
		return names
	}
	return l
}

// each calls found for those that a firewall is closed at, until it answers false. Whole addresses, and what is not led by the host, are
// left out.
func (l look) each(ctx context.Context, some []publication.Binding, found func(publication.Binding, Closed) bool) {
	for _, b := range some {
		v4 := b.HostIP.Is4()
		if b.Whole() || b.Direct() || b.HostIP.IsLoopback() {
			continue
		}
		if _, read := l.tables[v4]; !read {
			l.tables[v4] = l.reader.tables(ctx, l.names(ctx), v4)
		}
		source := FarAway(v4)
		if from := b.Sources.Prefixes(); len(from) > 0 {
			source = from[0].Addr()
		}
		p := Packet{Protocol: b.Protocol, Source: source, Target: b.Host(), Interface: l.reader.interfaceTo(source)}
		for _, other := range l.tables[v4] {
			if c, closed := other.closed(p); closed {
				if !found(b, c) {
					return
				}
				break
			}
		}
	}
}

// FarAway is an address that stands for somebody in the internet; documentation is written with it.
func FarAway(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{203, 0, 113, 1})
	}
	return netip.MustParseAddr("2001:db8::1")
}
