package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// sandboxes: owner -> Sandbox, with its endpoints and the addresses leased to them; found by pin and by network too
var sandboxes = state.NewTable("sandboxes", func(s *network.Sandbox) string { return s.Owner },
	state.Index[network.Sandbox]{Name: "netns", Of: func(s *network.Sandbox) []string { return []string{s.NetnsPath} }},
	state.Index[network.Sandbox]{Name: "network", Of: networksOf})

func networksOf(s *network.Sandbox) []string {
	var out []string
	for _, e := range s.Endpoints {
		out = append(out, e.NetworkID)
	}
	return out
}

// Sandbox answers an owner's sandbox.
func (s *Store) Sandbox(owner string) (network.Sandbox, bool) {
	sb, ok := sandboxes.Get(s.db.View(), owner)
	if !ok {
		return network.Sandbox{}, false
	}
	return *sb, true
}

// Sandboxes answers all sandboxes, by owner.
func (s *Store) Sandboxes() []network.Sandbox {
	var out []network.Sandbox
	for sb := range sandboxes.All(s.db.View()) {
		out = append(out, *sb)
	}
	return out
}

// SandboxesOn answers the sandboxes with an endpoint on a network.
func (s *Store) SandboxesOn(networkID string) []network.Sandbox {
	var out []network.Sandbox
	for sb := range sandboxes.By(s.db.View(), "network", networkID) {
		out = append(out, *sb)
	}
	return out
}

// SandboxAt answers the sandbox whose namespace is pinned at a path.
func (s *Store) SandboxAt(netnsPath string) (network.Sandbox, bool) {
	for sb := range sandboxes.By(s.db.View(), "netns", netnsPath) {
		return *sb, true
	}
	return network.Sandbox{}, false
}

// PutSandbox stores a sandbox with its leases. Conflict if one of its networks is gone, or about to go.
func (s *Store) PutSandbox(sb network.Sandbox) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, e := range sb.Endpoints {
			if n, ok := networks.Get(tx, e.NetworkID); !ok || n.Deleting {
				return fault.New(fault.Conflict, "network "+e.NetworkName, "was deleted meanwhile", fault.WithHint("choose another network"))
			}
		}
		return sandboxes.Put(tx, &sb)
	})
}

// DeleteSandboxes forgets owners' sandboxes and leases, all or none. Unknown owners are no error.
func (s *Store) DeleteSandboxes(owners ...string) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, owner := range owners {
			if _, err := sandboxes.Delete(tx, owner); err != nil {
				return err
			}
		}
		return nil
	})
}
