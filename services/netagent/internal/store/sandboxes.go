package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// sandboxes holds the sandboxes by owner, with indexes by namespace path and by network.
var sandboxes = state.NewTable("sandboxes", func(s *endpoint.Sandbox) string { return s.Owner },
	state.Index[endpoint.Sandbox]{Name: "netns",
		Of: func(s *endpoint.Sandbox) []string { return []string{s.NetnsPath} }},
	state.Index[endpoint.Sandbox]{Name: "network", Of: networksOf})

func networksOf(s *endpoint.Sandbox) []string {
	var out []string
	for _, e := range s.Endpoints {
		out = append(out, e.NetworkID)
	}
	return out
}

// Sandbox returns an owner's sandbox; ok is false if it does not exist.
func (s *Store) Sandbox(owner string) (endpoint.Sandbox, bool) {
	sb, ok := sandboxes.Get(s.db.View(), owner)
	if !ok {
		return endpoint.Sandbox{}, false
	}
	return *sb, true
}

// Sandboxes returns all sandboxes, sorted by owner.
func (s *Store) Sandboxes() []endpoint.Sandbox {
	var out []endpoint.Sandbox
	for sb := range sandboxes.All(s.db.View()) {
		out = append(out, *sb)
	}
	return out
}

// SandboxesOn returns the sandboxes with an endpoint on a network.
func (s *Store) SandboxesOn(networkID string) []endpoint.Sandbox {
	var out []endpoint.Sandbox
	for sb := range sandboxes.By(s.db.View(), "network", networkID) {
		out = append(out, *sb)
	}
	return out
}

// SandboxAt returns the sandbox whose namespace is pinned at a path; ok is false if there is none.
func (s *Store) SandboxAt(netnsPath string) (endpoint.Sandbox, bool) {
	for sb := range sandboxes.By(s.db.View(), "netns", netnsPath) {
		return *sb, true
	}
	return endpoint.Sandbox{}, false
}

// PutSandbox stores a sandbox with its addresses. It returns a Conflict fault if a network does not
// exist or is being deleted.
func (s *Store) PutSandbox(sb endpoint.Sandbox) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, e := range sb.Endpoints {
			if n, ok := networks.Get(tx, e.NetworkID); !ok || n.Status.Deleting {
				return fault.New(fault.Conflict, "network "+e.NetworkName, "was deleted concurrently",
					fault.WithHint("choose another network"))
			}
		}
		return sandboxes.Put(tx, &sb)
	})
}

// DeleteSandboxes deletes the sandboxes of the given owners in one transaction. It ignores unknown
// owners.
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

// NeedsRenumbering reports whether a sandbox lacks addresses of its networks, or has not completed
// a renumbering. An external sandbox keeps its addresses: its client has passed them on.
func (s *Store) NeedsRenumbering(sb endpoint.Sandbox) bool {
	if sb.External != "" {
		return false
	}
	for _, e := range sb.Endpoints {
		if n, ok := s.Network(e.NetworkID); ok && e.NeedsRenumbering(n.Network) {
			return true
		}
	}
	return false
}
