package run

import (
	"context"
	"slices"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// Warnings are what the user should know of what was launched, one line each. They may take a moment to be known; when ctx ends, the others
// are answered.
func (l *Launched) Warnings(ctx context.Context) []string {
	if l.reviewed == nil {
		return l.warnings
	}
	select {
	case w := <-l.reviewed:
		l.warnings, l.reviewed = append(l.warnings, w...), nil
	case <-ctx.Done():
	}
	return l.warnings
}

// startHostFirewallCheck asks natagent what should be known of what is published, beside what else is to be done for the launch.
func (r *Runner) startHostFirewallCheck(ctx context.Context, bindings []container.Binding) <-chan []string {
	if len(bindings) == 0 {
		return nil
	}
	out := make(chan []string, 1)
	go func() { out <- r.review(context.WithoutCancel(ctx), bindings) }()
	return out
}

// review asks natagent what should be known of what is published. It knows nothing, if it cannot be asked.
func (r *Runner) review(ctx context.Context, bindings []container.Binding) []string {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	resp, err := r.Publications.CheckHostFirewall(ctx, &natv1.CheckHostFirewallRequest{Bindings: protoconv.ToBindings(bindings)})
	if err != nil {
		r.Log.Warn("published ports could not be reviewed", "error", err)
	}
	return resp.GetWarnings()
}

// fresh are the bindings that were not there before.
func fresh(now, before []container.Binding) (out []container.Binding) {
	for _, b := range now {
		if !slices.Contains(before, b) {
			out = append(out, b)
		}
	}
	return out
}

// unpublished is the warning that ports are asked for where nobody could connect.
func (l *launch) unpublished() string {
	return "container " + l.name + ": its ports are not published, since nobody reaches an internal network; " +
		"they are as soon as it is connected to another one: fairlead network connect NETWORK " + l.name
}
