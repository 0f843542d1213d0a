package networks

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Prune deletes the matching networks without sandboxes and returns their names. It keeps
// predefined networks, and those of the fleet, which other hosts may use.
func (m *Manager) Prune(ctx context.Context, s network.Filter) (deleted []string, err error) {
	for _, n := range m.List() {
		if n.IsPredefined() || n.IsGlobal() || !s.Matches(n) {
			continue
		}
		switch _, derr := m.Delete(ctx, n.ID); {
		case derr == nil:
			deleted = append(deleted, n.Name)
		case !fault.Is(derr, fault.Busy) && !fault.Is(derr, fault.NotFound): // in use, or deleted concurrently
			err = errors.Join(err, derr)
		}
	}

	// as in Docker, where it counts bytes
	m.events.Emit(events.Network, "prune", "", map[string]string{"reclaimed": "0"})
	return deleted, err
}
