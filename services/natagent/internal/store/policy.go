package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
)

// newPolicies returns the table
//
//	policies: owner -> Container
func newPolicies() *state.Table[egress.Container] {
	return state.NewTable("policies", func(c *egress.Container) string { return c.Owner })
}

// Policy returns the policy of an owner. Callers must not modify the result.
func (s *Store) Policy(owner string) (*egress.Container, bool) {
	return s.policies.Get(s.db.View(), owner)
}

// Policies returns all policies, sorted by owner. Callers must not modify the result.
func (s *Store) Policies() []*egress.Container { return collect(s.policies, s.db) }

// PutPolicy stores a policy.
func (s *Store) PutPolicy(c *egress.Container) error {
	return s.db.Update(func(tx *state.Tx) error { return s.policies.Put(tx, c) })
}

// DeletePolicy deletes the policy of an owner.
func (s *Store) DeletePolicy(owner string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.policies.Delete(tx, owner)
		return err
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
