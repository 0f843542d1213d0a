package tables

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// queuePeer queues the sets of a peer that one more policy names, if there are none.
func (k *Tables) queuePeer(peer string, prefixes func(string) []netip.Prefix) {
	k.naming[peer]++
	if _, ok := k.peers[peer]; ok {
		return
	}
	k.peers[peer] = prefixes(peer)
	for _, s := range rules.PeerSets(k.inet(), peer, k.peers[peer]) {
		_ = k.conn.AddSet(s.Set, s.Elements)
	}
}

// releasePeer queues the removal of the sets of a peer if no other policy names it.
func (k *Tables) releasePeer(peer string) {
	if k.naming[peer]--; k.naming[peer] > 0 {
		return
	}
	delete(k.naming, peer)
	delete(k.peers, peer)
	for _, s := range rules.PeerSets(k.inet(), peer, nil) {
		k.conn.DelSet(s.Set)
	}
}

// ChangedPeers returns the peers with sets whose addresses differ from the present ones.
func (k *Tables) ChangedPeers(present func(string) []netip.Prefix) map[string][]netip.Prefix {
	changed := map[string][]netip.Prefix{}
	for peer, have := range k.peers {
		if want := present(peer); !slices.Equal(have, want) {
			changed[peer] = want
		}
	}
	return changed
}

// PutPeers writes the differences of peers, in one transaction.
func (k *Tables) PutPeers(changed map[string][]netip.Prefix) error {
	for peer, want := range changed {
		gone, added := rules.PeerSets(k.inet(), peer, prefixes.Subtract(k.peers[peer], want)),
			rules.PeerSets(k.inet(), peer, prefixes.Subtract(want, k.peers[peer]))
		for i := range gone {
			if len(gone[i].Elements) > 0 {
				_ = k.conn.SetDeleteElements(gone[i].Set, gone[i].Elements)
			}
			if len(added[i].Elements) > 0 {
				_ = k.conn.SetAddElements(added[i].Set, added[i].Elements)
			}
		}
	}
	if err := k.commit(); err != nil {
		return err
	}
	maps.Copy(k.peers, changed)
	return nil
}

// Peer returns the addresses of a peer in the kernel.
func (k *Tables) Peer(name string) []netip.Prefix { return k.peers[name] }
