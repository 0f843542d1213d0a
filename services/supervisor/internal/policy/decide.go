package policy

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// Decision is the decision about a connection, with the source of the rule.
type Decision struct {
	egress.Decision
	Source string
}

// Decide returns the decision of sources about a test. A name stands for a public address that the
// container has resolved, a container for its first address.
func Decide(sources []Source, t Test, members []Member) (Decision, error) {
	peer, err := t.peer()
	if err != nil {
		return Decision{}, err
	}
	rules := Merge(sources)
	parse, list := egress.Parse, rules.Egress
	if t.Incoming {
		parse, list = egress.ParseIngress, rules.Ingress
	}
	p, err := parse(list)
	if err != nil {
		return Decision{}, err
	}

	d := Decision{Decision: p.Decide(target(peer, members))}
	if peer.Kind == egress.Domain && d.Allowed && !p.AllowsName(peer.Name) {
		d.Decision = egress.Decision{Reason: ReasonName}
	}
	for _, s := range sources {
		if d.Rule != "" && (slices.Contains(s.Egress, d.Rule) && !t.Incoming || slices.Contains(s.Ingress, d.Rule) &&
			t.Incoming) {
			d.Source = s.Name
			break
		}
	}
	return d, nil
}

// ReasonName is the reason of a refusal of a name.
const ReasonName = "name"

// target returns the target that a peer stands for.
func target(peer egress.Rule, members []Member) egress.Target {
	t := egress.Target{Protocol: peer.Ports.Protocol, Port: peer.Ports.First, Host: peer.Kind == egress.Host,
		Addr: addressOf(peer, members)}
	if t.Protocol == "" {
		t.Protocol = egress.TCP
	}
	t.Has = func(r egress.Rule) bool {
		switch {
		case r.Kind == egress.Domain:
			return peer.Kind == egress.Domain && len(egress.Policy{r}.RulesFor(peer.Name)) > 0
		case r.IsPeer() && peer.IsPeer() && r.Peer() == peer.Peer():
			return true
		case r.Kind == egress.Network:
			return slices.ContainsFunc(Subnets(r.Name, members),
				func(p netip.Prefix) bool { return p.Contains(t.Addr) })
		}
		return slices.ContainsFunc(Addresses(r.Peer(), members),
			func(p netip.Prefix) bool { return p.Contains(t.Addr) })
	}
	return t
}

// addressOf returns an address of a peer.
func addressOf(peer egress.Rule, members []Member) netip.Addr {
	switch peer.Kind {
	case egress.Prefix:
		return peer.Prefix.Addr()
	case egress.Metadata:
		return egress.MetadataAddresses()[0].Addr()
	case egress.LAN, egress.Host:
		return egress.PrivateRanges()[0].Addr()
	case egress.Container, egress.Label:
		if all := Addresses(peer.Peer(), members); len(all) > 0 {
			return all[0].Addr()
		}
		return egress.PrivateRanges()[0].Addr()
	case egress.Network:
		if all := Subnets(peer.Name, members); len(all) > 0 {
			return all[0].Addr()
		}
		return egress.PrivateRanges()[0].Addr()
	}
	return publicAddress
}

// publicAddress stands for addresses outside of private ranges.
var publicAddress = netip.MustParseAddr("198.51.100.1")

// Subnets returns the subnets of a network, as far as a container is connected to it.
func Subnets(network string, members []Member) (all []netip.Prefix) {
	for _, m := range members {
		for _, e := range m.Endpoints {
			for _, text := range []string{e.IPv4, e.IPv6} {
				if p, err := netip.ParsePrefix(text); err == nil && e.NetworkName == network {
					all = append(all, p.Masked())
				}
			}
		}
	}
	return all
}
