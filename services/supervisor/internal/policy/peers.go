package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/id"
)

// Addresses returns the addresses of a container or label among members, sorted. It returns none for a
// network.
func Addresses(peer string, members []Member) (all []netip.Prefix) {
	kind, name, err := egress.ParsePeer(peer)
	if err != nil {
		return nil
	}
	for _, m := range members {
		if kind == egress.Container && m.hasName(name) || kind == egress.Label && egress.MatchesLabel(name, m.Labels) {
			all = append(all, m.prefixes()...)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// hasName reports whether a container has a name or ID.
func (m Member) hasName(name string) bool {
	return m.Name == name || len(name) >= len(id.Short(m.ID)) && strings.HasPrefix(m.ID, name)
}

// prefixes returns the addresses of a container.
func (m Member) prefixes() (all []netip.Prefix) {
	for _, e := range m.Endpoints {
		for _, text := range e.Addresses() {
			if a, err := netip.ParseAddr(text); err == nil {
				all = append(all, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return all
}

// Subnets returns the subnets of a network, as far as a container of this host is connected to it, each once.
func Subnets(network string, members []Member) (all []netip.Prefix) {
	for _, m := range members {
		if m.Node != "" {
			continue
		}
		for _, e := range m.Endpoints {
			for _, text := range []string{e.IPv4, e.IPv6} {
				if p, err := netip.ParsePrefix(text); err == nil && e.NetworkName == network {
					all = append(all, p.Masked())
				}
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}
