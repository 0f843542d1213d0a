package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// target is a target of a peer, with the words that distinguish it from the peer's others.
type target struct {
	egress.Target
	text string
}

// Stand-ins for addresses that are not known.
var (
	publicAddress  = netip.MustParseAddr("198.51.100.1")
	privateAddress = netip.MustParseAddr("10.0.0.0")
)

// maxDecided bounds the rules that are read to decide about one peer, for all of its targets.
const maxDecided = 2_000_000

// everywhere are all addresses.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// targets returns targets that stand for all of a peer: rules decide about every other one as about one of
// these, as addresses and ports between two bounds of rules are equal to them. Their number grows with the
// product of both kinds of bounds, so that it fails if there are too many.
func targets(rules egress.Policy, peer egress.Rule, members []Member) (all []target, err error) {
	v := newView(rules, peer, members)
	addresses := v.addresses()
	decided := map[string]bool{}
	for _, a := range addresses {
		t := egress.Target{Addr: a, Host: v.isHost(a), Has: func(r egress.Rule) bool { return v.has(r, a) }}
		var matching egress.Policy
		key := fmt.Sprint(t.Host, isMetadata(a))
		for i, r := range rules {
			if r.HasAddress(t) {
				matching = append(matching, r)
				key += fmt.Sprint(" ", i)
			}
		}
		if decided[key] {
			continue
		}
		decided[key] = true

		for _, p := range points(matching, peer.Ports) {
			t.Protocol, t.Port = p.protocol, p.port
			text := p.String()
			if len(addresses) > 1 {
				text = a.String() + " " + text
			}
			all = append(all, target{t, text})
		}
		if len(all)*len(rules) > maxDecided {
			return nil, fmt.Errorf("%s stands for too many addresses and ports for these rules, test one of them",
				peer)
		}
	}
	return all, nil
}

// view holds the known addresses of a peer and of rules.
type view struct {
	peer    egress.Rule
	hosts   map[netip.Addr]bool // gateways of bridges
	peers   map[string]*addresses
	bounded []netip.Prefix // prefixes whose ends are bounds of rules
	members []Member
}

// addresses are those of a container, network or label.
type addresses struct {
	single  map[netip.Addr]bool
	subnets []netip.Prefix
}

func newView(rules egress.Policy, peer egress.Rule, members []Member) *view {
	v := &view{peer: peer, hosts: gateways(members), peers: map[string]*addresses{}, members: members}
	v.bounded = slices.Concat(egress.PrivateRanges(), egress.SpecialRanges(), egress.MetadataAddresses())
	for a := range v.hosts {
		v.bounded = append(v.bounded, netip.PrefixFrom(a, a.BitLen()))
	}
	for _, r := range rules {
		switch {
		case r.Kind == egress.Prefix:
			v.bounded = append(v.bounded, r.Prefix)
		case r.IsPeer():
			v.add(r)
		}
	}
	return v
}

// add adds the addresses of the peer of a rule.
func (v *view) add(r egress.Rule) {
	known := &addresses{single: map[netip.Addr]bool{}, subnets: Subnets(r.Name, v.members)}
	if r.Kind != egress.Network {
		known.subnets = nil
	}
	for _, p := range Addresses(r.Peer(), v.members) {
		known.single[p.Addr()] = true
		v.bounded = append(v.bounded, p)
	}
	v.bounded = append(v.bounded, known.subnets...)
	v.peers[r.Peer()] = known
}

// gateways returns the addresses of the host on the bridges of containers.
func gateways(members []Member) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, m := range members {
		for _, e := range m.Endpoints {
			for _, text := range []string{e.IPv4Gateway, e.IPv6Gateway} {
				if a, err := netip.ParseAddr(text); err == nil && e.Bridge != "" {
					all[a] = true
				}
			}
		}
	}
	return all
}

// isHost reports whether an address of the peer belongs to the host.
func (v *view) isHost(a netip.Addr) bool { return v.peer.Kind == egress.Host || v.hosts[a] }

// has reports whether an address belongs to the domain, container, network or label of a rule.
func (v *view) has(r egress.Rule, a netip.Addr) bool {
	if r.Kind == egress.Domain {
		return v.peer.Kind == egress.Domain && len(egress.Policy{r}.RulesFor(v.peer.Name)) > 0
	}
	known := v.peers[r.Peer()]
	return known.single[a] || v.peer.IsPeer() && r.Peer() == v.peer.Peer() ||
		slices.ContainsFunc(known.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addresses returns addresses that stand for all of the peer.
func (v *view) addresses() []netip.Addr {
	switch v.peer.Kind {
	case egress.Prefix:
		return v.within([]netip.Prefix{v.peer.Prefix}, nil)
	case egress.Metadata:
		return v.within(egress.MetadataAddresses(), nil)
	case egress.LAN:
		return v.within(egress.PrivateRanges(), func(a netip.Addr) bool { return !v.hosts[a] && !isMetadata(a) })
	case egress.Internet:
		return v.within(everywhere, egress.IsPublic)
	case egress.Host:
		return orOne(slices.SortedFunc(maps.Keys(v.hosts), netip.Addr.Compare), privateAddress)
	case egress.Container, egress.Label:
		return orOne(v.within(Addresses(v.peer.Peer(), v.members), nil), privateAddress)
	case egress.Network: // its gateway is the host
		return orOne(v.within(Subnets(v.peer.Name, v.members), func(a netip.Addr) bool { return !v.hosts[a] }),
			privateAddress)
	}
	return []netip.Addr{publicAddress}
}

// within returns the first address of each part into which the bounds divide prefixes, as far as selected
// by a function, if there is one.
func (v *view) within(prefixes []netip.Prefix, selected func(netip.Addr) bool) (all []netip.Addr) {
	var starts []netip.Addr
	for _, p := range v.bounded {
		starts = append(starts, p.Addr(), lastOf(p).Next())
	}
	for _, p := range prefixes {
		all = append(all, p.Addr())
		for _, a := range starts {
			if p.Contains(a) {
				all = append(all, a)
			}
		}
	}
	if selected != nil {
		all = slices.DeleteFunc(all, func(a netip.Addr) bool { return !selected(a) })
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
