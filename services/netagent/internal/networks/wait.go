package networks

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// pollInterval is the interval between checks.
	pollInterval = 10 * time.Millisecond
	// noProgress is the timeout without any progress.
	noProgress = 30 * time.Second
)

// WaitConverged waits until all containers of a network are renumbered. It fails if none makes
// progress for a while.
func (m *Manager) WaitConverged(ctx context.Context, ref string) (network.Network, error) {
	n, err := m.store.FindNetwork(ref)
	if err != nil {
		return n.Network, err
	}

	var last []string
	since := time.Now()
	for {
		names := m.pendingContainers(n.ID)
		if len(names) == 0 {
			err := m.RemoveFormerPools(ctx)
			n, _ := m.store.Network(n.ID)
			return n.Network, err
		}
		if !slices.Equal(names, last) {
			last, since = names, time.Now()
		}
		if time.Since(since) > noProgress {
			return n.Network, fault.New(fault.Unavailable, n.Subject(), "containers are not updated yet: "+
				strings.Join(names, ", "),
				fault.WithHint("check that the supervisor is running; it continues the update"))
		}
		select {
		case <-ctx.Done():
			return n.Network, ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// pendingContainers returns the sorted names of the containers that still need renumbering.
func (m *Manager) pendingContainers(networkID string) []string {
	var names []string
	for _, sb := range m.store.SandboxesOn(networkID) {
		if m.store.NeedsRenumbering(sb) {
			names = append(names, sb.DisplayName())
		}
	}
	slices.Sort(names)
	return names
}
