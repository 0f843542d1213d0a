package rules

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/fairlead/fairlead/proto/egress"
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

func viaMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapVia, KeyType: nftables.TypeEtherAddr, DataType: nftables.TypeEtherAddr,
		IsMap: true, KeyByteOrder: binaryutil.BigEndian, Comment: "container with a policy -> its bridge"}
}

// sets returns the sets of a chain; learned are the addresses of one that is not shared.
func (b *chainBuilder) sets(t *nftables.Table, groups []plan.Group,
	learned map[answered.Open]time.Duration) (all []Set) {
	for i, g := range groups {
		all = append(all, b.static(t, g, i)...)
		for _, f := range families() {
			if g.Domains {
				s := Set{Set: learnedSet(t, b.chain, i, f, b.isShared()), Elements: learnedElements(i, f, learned)}
				s.Comment = groupComment(g)
				all = append(all, s)
			}
		}
	}
	return all
}

// static returns the sets of the addresses of a group's rules. A single prefix is compared without a set: the kernel
// searches all sets of a table for a name, so that each set makes all changes slower.
func (b *chainBuilder) static(t *nftables.Table, g plan.Group, index int) (all []Set) {
	for _, f := range families() {
		if list := f.of(g.Prefixes); len(list) > 1 {
			all = append(all, Set{&nftables.Set{Table: t, KeyType: f.address, Interval: true, Comment: groupComment(g),
				Name: b.setName(index, setStatic, f.v6)}, intervals(list)})
		}
	}
	return all
}

// groupComment returns the comment of a set.
func groupComment(g plan.Group) string { return g.Text[:min(len(g.Text), maxComment)] }

// PeerSets returns the sets of a peer.
func PeerSets(t *nftables.Table, peer string, prefixes []netip.Prefix) (all []Set) {
	for _, f := range families() {
		all = append(all, Set{&nftables.Set{Table: t, Name: peerSet(peer, f.v6), KeyType: f.address, Interval: true,
			Comment: peer[:min(len(peer), maxComment)]}, intervals(f.of(prefixes))})
	}
	return all
}
