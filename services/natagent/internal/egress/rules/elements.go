package rules

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// BaseSets returns the sets and maps of the inet table that do not belong to one policy.
func BaseSets(t *nftables.Table) []Set {
	all := append(addressSets(t), Set{Set: policyMap(t)})
	for _, f := range families() {
		all = append(all, Set{Set: ingressMap(t, f)})
	}
	for _, r := range refusedSets(t) {
		all = append(all, Set{Set: r})
	}
	return append(append(all, sendersSets(t)...), recordedSets(t)...)
}

// refusedSets returns the sets whose elements count the packets of containers that were refused: outgoing, by MAC
// address, and incoming, by address.
func refusedSets(t *nftables.Table) []*nftables.Set {
	set := func(name string, key nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, Name: name, KeyType: key, Counter: true, KeyByteOrder: binaryutil.BigEndian,
			Comment: "packets that policies refused"}
	}
	all := []*nftables.Set{set(setRefused, nftables.TypeEtherAddr)}
	for _, f := range families() {
		all = append(all, set(sharedSet(setRefused, f.v6), f.address))
	}
	return all
}

// Counted are a map and a set whose elements count the packets of containers: all that their policies decided about,
// and those that they refused.
type Counted struct {
	Decided, Refused *nftables.Set
	Keys             [][]byte // of a container
}

// Counters returns where the packets of a container are counted.
func Counters(t *nftables.Table, p *plan.Plan) []Counted {
	refused := refusedSets(t)
	all := []Counted{{Decided: policyMap(t), Refused: refused[0]}}
	if ChainName(p, Outgoing) != "" {
		for mac := range p.Via {
			all[0].Keys = append(all[0].Keys, []byte(mac))
		}
	}
	if ChainName(p, Incoming) == "" {
		return all
	}
	for i, f := range families() {
		c := Counted{Decided: ingressMap(t, f), Refused: refused[1+i]}
		for _, a := range p.BridgeAddresses() {
			if a.Is6() == f.v6 {
				c.Keys = append(c.Keys, a.AsSlice())
			}
		}
		all = append(all, c)
	}
	return all
}

func ingressMap(t *nftables.Table, f family) *nftables.Set {
	return &nftables.Set{Table: t, Name: sharedSet(mapIngress, f.v6), KeyType: f.address, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Counter: true,
		Comment: "container -> its ingress policy"}
}

func policyMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapPolicies, KeyType: nftables.TypeEtherAddr, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Counter: true,
		Comment: "container -> its policy"}
}

// Elements returns the elements of a container in the shared sets and maps of both tables.
func Elements(inet, bridge *nftables.Table, p *plan.Plan) []Set {
	shared := BridgeSets(bridge)
	via, limited, waiting, guarded := shared[0], shared[1], shared[2], shared[3]
	policies, refused := Set{Set: policyMap(inet)}, Set{Set: refusedSets(inet)[0]}
	for _, mac := range p.Held() {
		waiting.Elements = append(waiting.Elements, nftables.SetElement{Key: mac})
	}
	out := ChainName(p, Outgoing)
	for mac, bridge := range p.Via {
		key := nftables.SetElement{Key: []byte(mac)}
		via.Elements = append(via.Elements, nftables.SetElement{Key: key.Key, Val: bridge})
		if out != "" {
			policies.Elements = append(policies.Elements, nftables.SetElement{Key: key.Key,
				VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: out}, Comment: comment(p)})
			limited.Elements = append(limited.Elements, key)
			refused.Elements = append(refused.Elements, key)
		}
		if len(p.Ingress) > 0 {
			guarded.Elements = append(guarded.Elements, key)
		}
	}
	return append(ingressElements(inet, p), policies, via, limited, waiting, guarded, refused)
}

// ingressElements returns the elements of a container for incoming traffic.
func ingressElements(inet *nftables.Table, p *plan.Plan) (all []Set) {
	in := ChainName(p, Incoming)
	if in == "" {
		return nil
	}
	for i, f := range families() {
		policies, refused := Set{Set: ingressMap(inet, f)}, Set{Set: refusedSets(inet)[1+i]}
		for _, a := range p.BridgeAddresses() {
			if a.Is6() == f.v6 {
				key := nftables.SetElement{Key: a.AsSlice()}
				policies.Elements = append(policies.Elements, nftables.SetElement{Key: key.Key,
					VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: in}, Comment: comment(p)})
				refused.Elements = append(refused.Elements, key)
			}
		}
		all = append(all, policies, refused)
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
