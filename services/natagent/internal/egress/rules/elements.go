package rules

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// BaseSets returns the sets and maps of the inet table that do not belong to one policy. Containers have the number of
// their policy's chain: the kernel checks all chains after each new reference to one, however many there are.
func BaseSets(t *nftables.Table) []Set {
	all := append(addressSets(t), Set{Set: policyMap(t)}, Set{Set: chainMap(t)})
	for _, f := range families() {
		all = append(all, Set{Set: ingressMap(t, f)})
	}
	for _, c := range CountSets(t) {
		all = append(all, Set{Set: c.Allowed}, Set{Set: c.Refused})
	}
	return append(all, Set{Set: recordedSet(t, setRecorded, nftables.TypeEtherAddr)},
		Set{Set: recordedSet(t, sharedSet(setRecorded, false), nftables.TypeIPAddr)},
		Set{Set: recordedSet(t, sharedSet(setRecorded, true), nftables.TypeIP6Addr)})
}

// Counted are sets whose elements count the packets of containers: those that were allowed, and refused.
type Counted struct{ Allowed, Refused *nftables.Set }

// CountSets returns the sets for outgoing traffic, by MAC address, and for incoming traffic, by address.
func CountSets(t *nftables.Table) []Counted {
	set := func(name string, key nftables.SetDatatype, comment string) *nftables.Set {
		return &nftables.Set{Table: t, Name: name, KeyType: key, Counter: true, Comment: comment,
			KeyByteOrder: binaryutil.BigEndian}
	}
	const allowed, refused = "packets that policies allowed", "packets that policies refused"
	all := []Counted{{set(setAllowed, nftables.TypeEtherAddr, allowed), set(setRefused, nftables.TypeEtherAddr, refused)}}
	for _, f := range families() {
		all = append(all, Counted{set(sharedSet(setAllowed, f.v6), f.address, allowed),
			set(sharedSet(setRefused, f.v6), f.address, refused)})
	}
	return all
}

func ingressMap(t *nftables.Table, f family) *nftables.Set {
	return &nftables.Set{Table: t, Name: sharedSet(mapIngress, f.v6), KeyType: f.address, IsMap: true,
		DataType: nftables.TypeMark, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its ingress policy"}
}

func policyMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapPolicies, KeyType: nftables.TypeEtherAddr, IsMap: true,
		DataType: nftables.TypeMark, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its policy"}
}

func chainMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapChains, KeyType: nftables.TypeMark, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.NativeEndian, Comment: "policy -> its chain"}
}

// ChainElement returns the element that makes a number stand for a chain.
func ChainElement(t *nftables.Table, number uint32, chain string) Set {
	return Set{chainMap(t), []nftables.SetElement{{Key: native(number),
		VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}}
}

// Elements returns the elements of a container in the shared sets and maps of both tables. number returns that of a
// chain.
func Elements(inet, bridge *nftables.Table, p *plan.Plan, number func(chain string) uint32) []Set {
	shared, counted := BridgeSets(bridge), CountSets(inet)
	via, limited, waiting, guarded := shared[0], shared[1], shared[2], shared[3]
	policies, allowed, refused := Set{Set: policyMap(inet)}, Set{Set: counted[0].Allowed}, Set{Set: counted[0].Refused}
	for _, mac := range p.Held() {
		waiting.Elements = append(waiting.Elements, nftables.SetElement{Key: mac})
	}
	out := SharedName(p, Outgoing)
	for mac, bridge := range p.Via {
		key := nftables.SetElement{Key: []byte(mac)}
		via.Elements = append(via.Elements, nftables.SetElement{Key: key.Key, Val: bridge})
		if out != "" {
			policies.Elements = append(policies.Elements, nftables.SetElement{Key: key.Key, Val: native(number(out)),
				Comment: comment(p)})
			limited.Elements = append(limited.Elements, key)
			allowed.Elements, refused.Elements = append(allowed.Elements, key), append(refused.Elements, key)
		}
		if len(p.Ingress) > 0 {
			guarded.Elements = append(guarded.Elements, key)
		}
	}
	return append(ingressElements(inet, p, counted[1:], number), policies, via, limited, waiting, guarded, allowed,
		refused)
}

// ingressElements returns the elements of a container for incoming traffic. counted are the sets of each family.
func ingressElements(inet *nftables.Table, p *plan.Plan, counted []Counted,
	number func(chain string) uint32) (all []Set) {
	in := SharedName(p, Incoming)
	if in == "" {
		return nil
	}
	for i, f := range families() {
		policies, allowed, refused := Set{Set: ingressMap(inet, f)}, Set{Set: counted[i].Allowed},
			Set{Set: counted[i].Refused}
		for _, a := range p.BridgeAddresses() {
			if a.Is6() == f.v6 {
				key := nftables.SetElement{Key: a.AsSlice()}
				policies.Elements = append(policies.Elements, nftables.SetElement{Key: key.Key, Val: native(number(in)),
					Comment: comment(p)})
				allowed.Elements, refused.Elements = append(allowed.Elements, key), append(refused.Elements, key)
			}
		}
		all = append(all, policies, allowed, refused)
	}
	return all
}

// CountKeys returns the keys of a container in each of CountSets.
func CountKeys(p *plan.Plan) (all [3][][]byte) {
	if SharedName(p, Outgoing) != "" {
		for mac := range p.Via {
			all[0] = append(all[0], []byte(mac))
		}
	}
	if SharedName(p, Incoming) != "" {
		for _, a := range p.BridgeAddresses() {
			i := 1
			if a.Is6() {
				i = 2
			}
			all[i] = append(all[i], a.AsSlice())
		}
	}
	return all
}

// comment returns the comment of an element: which container it is.
func comment(p *plan.Plan) string {
	text := p.Name
	if text == "" {
		text = id.Short(p.Owner)
	}
	return text[:min(len(text), maxComment)]
}
