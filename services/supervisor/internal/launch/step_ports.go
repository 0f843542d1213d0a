package launch

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// publishes reports whether the container publishes ports or addresses.
func (l *launch) publishes() bool {
	n := l.req.Config.Network
	return len(n.Publish) > 0 || n.PublishAll || len(n.Addresses) > 0
}

// publishPorts publishes ports in natagent.
func (l *launch) publishPorts() saga.Step {
	return saga.Step{
		Name: publishPorts, After: []string{joinNetwork},
		Do: func(ctx context.Context) error {
			p := agents.Publication{Owner: l.id, OwnerName: l.name, Target: l.live.PublishTarget(),
				Mappings: l.req.Config.Mappings(l.process.Exposed), Addresses: l.req.Config.Network.Addresses}
			if p.Target == (container.PublishTarget{}) { // internal networks only
				l.warnings = append(l.warnings, notices.Unpublished(l.name))
				return nil
			}
			if p.IsEmpty() {
				return nil // -P of an image without exposed ports
			}
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			bindings, err := l.r.Agents.Publish(ctx, p)
			if err != nil {
				return err
			}
			l.live.Bindings = bindings
			l.firewallWarnings = l.r.Notices.StartHostFirewallCheck(ctx, l.live.Bindings)
			return nil
		},
		Undo: func(ctx context.Context) error { return l.r.Agents.Unpublish(ctx, l.id) },
	}
}
