package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// newPolicies returns the table
//
//	policies: owner -> Container
func newPolicies() *state.Table[plan.Container] {
	return state.NewTable("policies", func(c *plan.Container) string { return c.Owner })
}

// Policy returns the policy of an owner. Callers must not modify the result.
func (s *Store) Policy(owner string) (*plan.Container, bool) {
	return s.policies.Get(s.db.View(), owner)
}

// Policies returns all policies, sorted by owner. Callers must not modify the result.
func (s *Store) Policies() []*plan.Container { return collect(s.policies, s.db) }

// PutPolicy stores a policy.
func (s *Store) PutPolicy(c *plan.Container) error {
	return s.db.Update(func(tx *state.Tx) error { return s.policies.Put(tx, c) })
}

// DeletePolicy deletes the policy of an owner.
func (s *Store) DeletePolicy(owner string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.policies.Delete(tx, owner)
		return err
	})
}

// ChangePolicies stores and deletes policies, all or none.
func (s *Store) ChangePolicies(put []*plan.Container, remove []string) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, c := range put {
			if err := s.policies.Put(tx, c); err != nil {
				return err
			}
		}
		for _, owner := range remove {
			if _, err := s.policies.Delete(tx, owner); err != nil {
				return err
			}
		}
		return nil
	})
}

// Bridge returns the bridge of a network.
func (s *Store) Bridge(network string) (string, bool) {
	n, ok := s.Network(network)
	if !ok || n.Bridge == "" {
		return "", false
	}
	return n.Bridge, true
}

// newPeers returns the table
//
//	peers: name -> Peer
func newPeers() *state.Table[plan.Peer] {
	return state.NewTable("peers", func(p *plan.Peer) string { return p.Name })
}

// Peer returns a container, network or label that rules name. Callers must not modify the result.
func (s *Store) Peer(name string) (*plan.Peer, bool) { return s.peers.Get(s.db.View(), name) }

// PutPeers replaces all peers. It writes nothing if they are stored already.
func (s *Store) PutPeers(all []plan.Peer) error {
	wanted := map[string]*plan.Peer{}
	for i := range all {
		wanted[all[i].Name] = &all[i]
	}
	var gone []string
	for p := range s.peers.All(s.db.View()) {
		have := wanted[p.Name]
		switch {
		case have == nil:
			gone = append(gone, p.Name)
		case have.Equal(p):
			delete(wanted, p.Name)
		}
	}
	if len(wanted)+len(gone) == 0 {
		return nil
	}

	return s.db.Update(func(tx *state.Tx) error {
		for _, name := range gone {
			if _, err := s.peers.Delete(tx, name); err != nil {
				return err
			}
		}
		for _, p := range wanted {
			if err := s.peers.Put(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
}
