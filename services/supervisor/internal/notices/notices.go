// Package notices emits the events of containers and obtains the warnings about published ports.
// It changes nothing. Packages launch, session, follow and run use it.
package notices

import (
	"context"
	"log/slog"
	"slices"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Config holds the dependencies of Notices.
type Config struct {
	Events *events.Broker
	Store  *store.Store
	Agents *agents.Agents
	Log    *slog.Logger
}

// Notices emits events and obtains warnings.
type Notices struct{ cfg Config }

// New returns Notices.
func New(cfg Config) *Notices { return &Notices{cfg: cfg} }

// StartHostFirewallCheck requests the warnings about published ports concurrently. It returns nil
// without bindings.
func (n *Notices) StartHostFirewallCheck(ctx context.Context, bindings []port.Binding) <-chan []string {
	if len(bindings) == 0 {
		return nil
	}
	out := make(chan []string, 1)
	go func() { out <- n.CheckHostFirewall(context.WithoutCancel(ctx), bindings) }()
	return out
}

// CheckHostFirewall returns natagent's warnings about published ports. It returns none on failure.
func (n *Notices) CheckHostFirewall(ctx context.Context, bindings []port.Binding) []string {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	warnings, err := n.cfg.Agents.CheckHostFirewall(ctx, bindings)
	if err != nil {
		n.cfg.Log.Warn("host firewall check failed", "error", err)
	}
	return warnings
}

// Added returns the bindings of now that are not in before.
func Added(now, before []port.Binding) (out []port.Binding) {
	for _, b := range now {
		if !slices.Contains(before, b) {
			out = append(out, b)
		}
	}
	return out
}

// Unpublished returns the warning about published ports of a container with internal networks only.
func Unpublished(name string) string {
	return "container " + name + ": its ports are not published, as its networks are internal; " +
		"connect it to another one: fairlead network connect NETWORK " + name
}
