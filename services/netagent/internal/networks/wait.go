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
	// lookEvery is how often those who wait look.
	lookEvery = 10 * time.Millisecond
	// noProgress is how long they look at the same containers.
	noProgress = 30 * time.Second
)

// WaitConverged answers when all containers on a network have followed what was changed of it. It gives up when none of them does for a while.
func (m *Manager) WaitConverged(ctx context.Context, ref string) (network.Network, error) {
	n, err := m.Store.FindNetwork(ref)
	if err != nil {
		return n.Network, err
	}
	var last []string
	since := time.Now()
	for {
		names := m.pendingContainers(n.ID)
		if len(names) == 0 {
			err := m.RemoveFormerPools(ctx)
			n, _ := m.Store.Network(n.ID)
			return n.Network, err
		}
		if !slices.Equal(names, last) {
			last, since = names, time.Now()
		}
		if time.Since(since) > noProgress {
			return n.Network, fault.New(fault.Unavailable, n.Subject(), "containers have not followed yet: "+strings.Join(names, ", "),
				fault.WithHint("see that the supervisor runs and is well; they follow as soon as they can"))
		}
		select {
		case <-ctx.Done():
			return n.Network, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// pendingContainers names the containers on a network that have not followed yet, sorted.
func (m *Manager) pendingContainers(networkID string) []string {
	var names []string
	for _, sb := range m.Store.SandboxesOn(networkID) {
		if m.Sandboxes.NeedsRenumbering(sb) {
			names = append(names, sb.DisplayName())
		}
	}
	slices.Sort(names)
	return names
}
