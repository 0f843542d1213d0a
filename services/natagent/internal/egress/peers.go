package egress

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// PutPeers sets the addresses of all containers, networks and labels that rules name, and deletes the
// connections that policies no longer allow. Others have no addresses. With keepOthers those of containers of
// other hosts are not known: the last known ones remain.
func (e *Enforcer) PutPeers(ctx context.Context, all []plan.Peer, keepOthers bool) error {
	for _, p := range all {
		if _, _, err := egress.ParsePeer(p.Name); err != nil {
			return fault.Invalidf("policy", "peers", "%s", err)
		}
	}

	containers, cuts, failed := e.putPeers(ctx, all, keepOthers) // after an error the kernel can have a part
	err := e.flows.Delete(ctx, cuts)
	for _, c := range containers {
		err = errors.Join(err, cutInside(ctx, e, c.Owner, cuts))
	}
	if err != nil {
		e.log.Warn("connections that policies do not allow may continue", "error", err)
	}
	return failed
}

// putPeers stores and writes all peers. It selects the connections that policies no longer allow, and returns the
// containers that can have some, also with the error of a namespace.
func (e *Enforcer) putPeers(ctx context.Context, all []plan.Peer, keepOthers bool) (containers []*plan.Plan,
	cuts []conntrack.Selector, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if keepOthers {
		all = withOthers(e.store, all)
	}
	if err := e.store.PutPeers(all); err != nil {
		return nil, nil, err
	}
	if !e.started && len(e.store.Policies()) == 0 {
		return nil, nil, nil
	}
	if err := e.start(ctx); err != nil {
		return nil, nil, err
	}

	changed := e.tables.ChangedPeers(e.prefixes)
	if len(changed) == 0 {
		return nil, nil, nil
	}
	containers = cutsOf(e.installed, e.tables.Peer, changed)
	had := map[string][]netip.Prefix{}
	for peer := range changed {
		had[peer] = e.tables.Peer(peer)
	}
	if err := e.tables.PutPeers(changed); err != nil {
		e.log.Warn("addresses of containers out of sync, writing them again", "error", err)
		if err := e.rebuild(); err != nil {
			return nil, nil, err
		}
	}
	err = e.inside.PutPeers(e.installed, changed)
	for _, c := range containers {
		cuts = append(cuts, cutsSince(e, c, earlierOf(c, e.book(c.Owner), func(peer string) []netip.Prefix {
			if all, ok := had[peer]; ok {
				return all
			}
			return e.prefixes(peer)
		}))...)
	}
	return containers, cuts, err
}

// withOthers returns peers with the stored addresses of containers of other hosts.
func withOthers(s Store, all []plan.Peer) []plan.Peer {
	all = slices.Clone(all)
	for i := range all {
		all[i].OtherHosts = nil
		if known, ok := s.Peer(all[i].Name); ok {
			all[i].OtherHosts = known.OtherHosts
		}
	}
	return all
}

// prefixes returns the addresses of a peer.
func (e *Enforcer) prefixes(peer string) []netip.Prefix {
	p, ok := e.store.Peer(peer)
	if !ok {
		return nil
	}
	return prefixes.Merge(p.All())
}

// cutsOf returns the containers that changed peers can take a connection from, before the change is
// written: a peer that a rule allows loses addresses, or one that a rule denies gets some.
func cutsOf(installed map[string]*plan.Plan, present func(peer string) []netip.Prefix,
	changed map[string][]netip.Prefix) (all []*plan.Plan) {
	lost, gained := map[string]bool{}, map[string]bool{}
	for peer, want := range changed {
		have := present(peer)
		lost[peer], gained[peer] = len(prefixes.Subtract(have, want)) > 0, len(prefixes.Subtract(want, have)) > 0
	}
	for _, c := range installed {
		if slices.ContainsFunc(slices.Concat(c.Out, c.In), func(r egress.Rule) bool {
			return r.IsPeer() && (r.Deny && gained[r.Peer()] || !r.Deny && lost[r.Peer()])
		}) {
			all = append(all, c)
		}
	}
	return all
}
