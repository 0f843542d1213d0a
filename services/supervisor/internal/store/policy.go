package store

import (
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// policies maps names to policies.
var policies = state.NewTable("policies", func(p *policy.Policy) string { return p.Name })

// ListPolicies returns all policies, sorted by name. Callers must not modify the result.
func (s *Store) ListPolicies() []*policy.Policy { return slices.Collect(policies.All(s.db.View())) }

// GetPolicy returns a policy; ok is false if it does not exist. Callers must not modify the result.
func (s *Store) GetPolicy(name string) (p *policy.Policy, ok bool) {
	return policies.Get(s.db.View(), name)
}

// ChangePolicies stores policies and deletes others by name, together.
func (s *Store) ChangePolicies(put []*policy.Policy, remove []string) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, p := range put {
			if err := policies.Put(tx, p); err != nil {
				return err
			}
		}
		for _, name := range remove {
			if _, err := policies.Delete(tx, name); err != nil {
				return err
			}
		}
		return nil
	})
}
