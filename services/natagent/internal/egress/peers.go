package egress

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// Peer is a container, a network or a label that rules name, with its present addresses. It is stored.
type Peer struct {
	Name     string // as in rules: "container:db"
	Prefixes []netip.Prefix
}

// PutPeers sets the addresses of all containers, networks and labels that rules name, and deletes the
// connections that policies no longer allow. Others have no addresses.
func (e *Enforcer) PutPeers(ctx context.Context, all []Peer) error {
	for _, p := range all {
		if _, _, err := egress.ParsePeer(p.Name); err != nil {
			return fault.Invalidf("policy", "peers", "%s", err)
		}
	}

	cuts, err := e.putPeers(ctx, all)
	if err != nil {
		return err
	}
	if err := e.flows.Delete(ctx, cuts); err != nil {
		e.log.Warn("connections that policies do not allow may continue", "error", err)
	}
	return nil
}

// putPeers stores and writes all peers. It selects the connections that policies no longer allow.
func (e *Enforcer) putPeers(ctx context.Context, all []Peer) (cuts []conntrack.Selector, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.store.PutPeers(all); err != nil {
		return nil, err
	}
	if !e.started && len(e.store.Policies()) == 0 {
		return nil, nil
	}
	if err := e.start(ctx); err != nil {
		return nil, err
	}

	changed := e.kernel.changedPeers(e.prefixes)
	if len(changed) == 0 {
		return nil, nil
	}
	containers := e.cutsOf(changed)
	if err := e.kernel.putPeers(changed); err != nil {
		e.log.Warn("addresses of containers out of sync, writing them again", "error", err)
		if err := e.rebuild(); err != nil {
			return nil, err
		}
	}
	for _, c := range containers {
		cuts = append(cuts, e.cuts(c)...)
	}
	return cuts, nil
}

// prefixes returns the addresses of a peer.
func (e *Enforcer) prefixes(peer string) []netip.Prefix {
	p, ok := e.store.Peer(peer)
	if !ok {
		return nil
	}
	return prefixes.Merge(p.Prefixes)
}

// cutsOf returns the containers that changed peers can take a connection from, before the change is
// written: a peer that a rule allows loses addresses, or one that a rule denies gets some.
func (e *Enforcer) cutsOf(changed map[string][]netip.Prefix) (all []*installed) {
	lost, gained := map[string]bool{}, map[string]bool{}
	for peer, want := range changed {
		have := e.kernel.peers[peer]
		lost[peer], gained[peer] = len(prefixes.Subtract(have, want)) > 0, len(prefixes.Subtract(want, have)) > 0
	}
	for _, c := range e.installed {
		if slices.ContainsFunc(slices.Concat(c.out, c.in), func(r egress.Rule) bool {
			return r.IsPeer() && (r.Deny && gained[r.Peer()] || !r.Deny && lost[r.Peer()])
		}) {
			all = append(all, c)
		}
	}
	return all
}

// peerSets returns the sets of a peer.
func peerSets(t *nftables.Table, peer string, prefixes []netip.Prefix) (all []filled) {
	for _, f := range families() {
		all = append(all, filled{&nftables.Set{Table: t, Name: peerSet(peer, f.v6), KeyType: f.address, Interval: true,
			Comment: peer[:min(len(peer), maxComment)]}, intervals(f.of(prefixes))})
	}
	return all
}

// queuePeer queues the sets of a peer that one more policy names, if there are none.
func (k *kernel) queuePeer(peer string, prefixes func(string) []netip.Prefix) {
	k.naming[peer]++
	if _, ok := k.peers[peer]; ok {
		return
	}
	k.peers[peer] = prefixes(peer)
	for _, s := range peerSets(k.inet(), peer, k.peers[peer]) {
		_ = k.conn.AddSet(s.set, s.elements)
	}
}

// releasePeer queues the removal of the sets of a peer if no other policy names it.
func (k *kernel) releasePeer(peer string) {
	if k.naming[peer]--; k.naming[peer] > 0 {
		return
	}
	delete(k.naming, peer)
	delete(k.peers, peer)
	for _, s := range peerSets(k.inet(), peer, nil) {
		k.conn.DelSet(s.set)
	}
}

// changedPeers returns the peers with sets whose addresses differ from the present ones.
func (k *kernel) changedPeers(present func(string) []netip.Prefix) map[string][]netip.Prefix {
	changed := map[string][]netip.Prefix{}
	for peer, have := range k.peers {
		if want := present(peer); !slices.Equal(have, want) {
			changed[peer] = want
		}
	}
	return changed
}

// putPeers writes the differences of peers, in one transaction.
func (k *kernel) putPeers(changed map[string][]netip.Prefix) error {
	for peer, want := range changed {
		gone, added := peerSets(k.inet(), peer, prefixes.Subtract(k.peers[peer], want)),
			peerSets(k.inet(), peer, prefixes.Subtract(want, k.peers[peer]))
		for i := range gone {
			if len(gone[i].elements) > 0 {
				_ = k.conn.SetDeleteElements(gone[i].set, gone[i].elements)
			}
			if len(added[i].elements) > 0 {
				_ = k.conn.SetAddElements(added[i].set, added[i].elements)
			}
		}
	}
	if err := k.commit(); err != nil {
		return err
	}
	maps.Copy(k.peers, changed)
	return nil
}
