package hostfirewall

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Reader reads the host firewall of a network namespace. It caches the rules until the kernel
// reports a change, so that a check takes constant time.
type Reader struct {
	ns     hostns.NS
	cache  *cache
	legacy *legacy
}

// New returns a reader. own is the nf_tables table of natagent itself. Watch uses events.
func New(ns hostns.NS, events *nfevents.Source, own string) *Reader {
	return &Reader{ns: ns, cache: newCache(ns, events, own), legacy: newLegacy(ns)}
}

// Watch receives change events until ctx ends. Without it, any change invalidates the cache.
func (r *Reader) Watch(ctx context.Context) { r.cache.watch(ctx) }

// Close closes the netlink socket.
func (r *Reader) Close() error { return r.cache.close() }

// Blocked returns the chain that certainly drops connections to the host; ok is false if there is
// none.
func (r *Reader) Blocked(ctx context.Context, proto port.Protocol, target netip.AddrPort,
	source netip.Addr) (Block, bool) {
	p := Packet{Protocol: proto, Source: source, Target: target}
	p.Interface, p.Index = interfaceTo(r.ns, source)
	for _, t := range r.tables(ctx, target.Addr().Is4()) {
		if c, closed := t.closed(p); closed {
			return c, true
		}
	}
	return Block{}, false
}

// tables returns the foreign tables for IPv4 or IPv6. Unreadable ones are omitted.
func (r *Reader) tables(ctx context.Context, ipv4 bool) (all []table) {
	if rs := r.cache.get(ctx); rs != nil {
		all = append(all, rs.tables[ipv4]...)
	}
	return append(all, r.legacy.get(ctx, ipv4)...)
}

// Tools returns the programs that own tables or chains: firewalld, ufw, Docker, libvirt.
func (r *Reader) Tools(ctx context.Context) (found []string) {
	marks := []struct{ tool, table, chain string }{
		{"firewalld", "firewalld", ""}, {"ufw", "", "ufw-"}, {"Docker", "", "DOCKER-USER"}, {"libvirt", "", "LIBVIRT_"},
		{"libvirt", "libvirt_network", ""},
	}

	names := r.names(ctx)
	for _, m := range marks {
		there := func(n chainName) bool {
			return m.table != "" && n.table == m.table || m.chain != "" && strings.HasPrefix(n.chain, m.chain)
		}
		if slices.ContainsFunc(names, there) && !slices.Contains(found, m.tool) {
			found = append(found, m.tool)
		}
	}

	return found
}

// chainName names a chain, or a table without chains.
type chainName struct{ table, chain string }

// names returns all chains of nftables and iptables.
func (r *Reader) names(ctx context.Context) (all []chainName) {
	if r.cache.link != nil {
		chains, _ := r.cache.link.ListChains()
		for _, c := range chains {
			all = append(all, chainName{c.Table.Name, c.Name})
		}
		tables, _ := r.cache.link.ListTables()
		for _, t := range tables {
			all = append(all, chainName{table: t.Name})
		}
	}

	for _, ipv4 := range []bool{true, false} {
		for _, t := range r.legacy.get(ctx, ipv4) {
			for name := range t.chains {
				all = append(all, chainName{t.name, name})
			}
		}
	}

	return all
}
