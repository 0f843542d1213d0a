package run

import (
	"context"
	"slices"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// Warnings returns the warnings of a launch, one line each. It waits for natagent until ctx is
// done.
func (l *Launched) Warnings(ctx context.Context) []string {
	if l.firewallWarnings == nil {
		return l.warnings
	}
	select {
	case w := <-l.firewallWarnings:
		l.warnings, l.firewallWarnings = append(l.warnings, w...), nil
	case <-ctx.Done():
	}
	return l.warnings
}

// startHostFirewallCheck requests the warnings about published ports concurrently with the launch.
func (r *Runner) startHostFirewallCheck(ctx context.Context, bindings []container.Binding) <-chan []string {
	if len(bindings) == 0 {
		return nil
	}
	out := make(chan []string, 1)
	go func() { out <- r.checkHostFirewall(context.WithoutCancel(ctx), bindings) }()
	return out
}

// checkHostFirewall returns natagent's warnings about published ports. It returns none on failure.
func (r *Runner) checkHostFirewall(ctx context.Context, bindings []container.Binding) []string {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	resp, err := r.Publications.CheckHostFirewall(ctx,
		&natv1.CheckHostFirewallRequest{Bindings: protoconv.ToBindings(bindings)})
	if err != nil {
		r.Log.Warn("host firewall check failed", "error", err)
	}
	return resp.GetWarnings()
}

// added returns the bindings of now that are not in before.
func added(now, before []container.Binding) (out []container.Binding) {
	for _, b := range now {
		if !slices.Contains(before, b) {
			out = append(out, b)
		}
	}
	return out
}

// unpublished returns the warning about published ports of a container with internal networks only.
func (l *launch) unpublished() string {
	return "container " + l.name + ": its ports are not published, as its networks are internal; " +
		"connect it to another one: fairlead network connect NETWORK " + l.name
}
