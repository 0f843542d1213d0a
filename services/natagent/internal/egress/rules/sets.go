package rules

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// Set is a set with its elements.
type Set struct {
	*nftables.Set
	Elements []nftables.SetElement
}

// addressSets returns the sets of well-known addresses.
func addressSets(t *nftables.Table) (all []Set) {
	for _, f := range families() {
		for name, list := range map[string][]netip.Prefix{"private": egress.PrivateRanges(),
			"special": egress.SpecialRanges(), "metadata": egress.MetadataAddresses()} {
			all = append(all, Set{&nftables.Set{Table: t, Name: sharedSet(name, f.v6), KeyType: f.address,
				Interval: true}, intervals(prefixes.Merge(f.of(list)))})
		}
	}
	return all
}

// BaseSets returns the sets and maps of the inet table that do not belong to one container.
func BaseSets(t *nftables.Table) []Set {
	all := addressSets(t)
	for _, f := range families() {
		all = append(all, Set{ingressMap(t, f), nil})
	}
	return append(all, Set{policyMap(t), nil})
}

// BridgeSets returns the sets and maps of the bridge table.
func BridgeSets(t *nftables.Table) []Set {
	limited := &nftables.Set{Table: t, Name: setLimited, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "containers with rules for outgoing traffic"}
	waiting := &nftables.Set{Table: t, Name: setHeld, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "interfaces before their policy is in force"}
	guarded := &nftables.Set{Table: t, Name: setGuarded, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "containers with rules for incoming traffic"}
	return []Set{{viaMap(t), nil}, {limited, nil}, {waiting, nil}, {guarded, nil}}
}

func ingressMap(t *nftables.Table, f family) *nftables.Set {
	return &nftables.Set{Table: t, Name: sharedSet(mapIngress, f.v6), KeyType: f.address, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its ingress policy"}
}

func policyMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapPolicies, KeyType: nftables.TypeEtherAddr, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its policy"}
}

func viaMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapVia, KeyType: nftables.TypeEtherAddr, DataType: nftables.TypeEtherAddr,
		IsMap: true, KeyByteOrder: binaryutil.BigEndian, Comment: "container with a policy -> its bridge"}
}

// Sets returns the sets of a container, with the addresses that it learned.
func Sets(t *nftables.Table, p *plan.Plan, learned map[answered.Open]time.Duration) (all []Set) {
	short := id.Short(p.Owner)
	for i, g := range p.InGroups {
		all = append(all, static(t, p, g, i, setFrom)...)
	}
	for i, g := range p.Groups {
		all = append(all, static(t, p, g, i, setStatic)...)
		for _, f := range families() {
			if !g.Domains {
				continue
			}
			s := Set{Set: &nftables.Set{Table: t, KeyType: f.address, HasTimeout: true, Comment: comment(g),
				Name: setName(short, p.Generation, i, setNames, f.v6)}}
			for a, left := range learned {
				if a.Group == i && a.Addr.Is6() == f.v6 {
					s.Elements = append(s.Elements, nftables.SetElement{Key: a.Addr.AsSlice(), Timeout: left})
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// static returns the sets of the addresses of a group's rules. A single prefix is compared without a set: the kernel
// searches all sets of a table for a name, so that each set makes all changes slower.
func static(t *nftables.Table, p *plan.Plan, g plan.Group, index int, kind string) (all []Set) {
	for _, f := range families() {
		if list := f.of(g.Prefixes); len(list) > 1 {
			all = append(all, Set{&nftables.Set{Table: t, KeyType: f.address, Interval: true, Comment: comment(g),
				Name: setName(id.Short(p.Owner), p.Generation, index, kind, f.v6)}, intervals(list)})
		}
	}
	return all
}

// comment returns the comment of a set.
func comment(g plan.Group) string { return g.Text[:min(len(g.Text), maxComment)] }

// Elements returns the elements of a container in the shared sets and maps of both tables.
func Elements(inet, bridge *nftables.Table, p *plan.Plan) []Set {
	shared := BridgeSets(bridge)
	policies, via, limited, waiting, guarded := Set{Set: policyMap(inet)}, shared[0], shared[1], shared[2],
		shared[3]
	for _, mac := range p.Held() {
		waiting.Elements = append(waiting.Elements, nftables.SetElement{Key: mac})
	}
	out := &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainName(p.Owner, p.Generation)}
	for mac, bridge := range p.Via {
		via.Elements = append(via.Elements, nftables.SetElement{Key: []byte(mac), Val: bridge})
		if len(p.Rules) > 0 {
			policies.Elements = append(policies.Elements, nftables.SetElement{Key: []byte(mac), VerdictData: out})
			limited.Elements = append(limited.Elements, nftables.SetElement{Key: []byte(mac)})
		}
		if len(p.Ingress) > 0 {
			guarded.Elements = append(guarded.Elements, nftables.SetElement{Key: []byte(mac)})
		}
	}
	all := []Set{policies, via, limited, waiting, guarded}
	if len(p.Ingress) == 0 {
		return all
	}

	in := &expr.Verdict{Kind: expr.VerdictGoto, Chain: ingressChainName(p.Owner, p.Generation)}
	for _, f := range families() {
		s := Set{Set: ingressMap(inet, f)}
		for _, a := range p.BridgeAddresses() {
			if a.Is6() == f.v6 {
				s.Elements = append(s.Elements, nftables.SetElement{Key: a.AsSlice(), VerdictData: in})
			}
		}
		all = append(all, s)
	}
	return all
}

// PeerSets returns the sets of a peer.
func PeerSets(t *nftables.Table, peer string, prefixes []netip.Prefix) (all []Set) {
	for _, f := range families() {
		all = append(all, Set{&nftables.Set{Table: t, Name: peerSet(peer, f.v6), KeyType: f.address, Interval: true,
			Comment: peer[:min(len(peer), maxComment)]}, intervals(f.of(prefixes))})
	}
	return all
}

// LearnedSet returns the set of an address that a container learned.
func LearnedSet(t *nftables.Table, p *plan.Plan, o answered.Open) *nftables.Set {
	f := families()[0]
	if o.Addr.Is6() {
		f = families()[1]
	}
	return &nftables.Set{Table: t, Name: setName(id.Short(p.Owner), p.Generation, o.Group, setNames, f.v6),
		KeyType: f.address, HasTimeout: true}
}
