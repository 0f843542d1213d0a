package run

import (
	"context"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
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
			w := publishTargets(&l.live)
			if w == (publishTarget{}) { // internal networks only
				l.warnings = append(l.warnings, l.unpublished())
				return nil
			}
			req := &natv1.PublishRequest{Owner: l.id, OwnerName: l.name, Ipv4Address: w.ipv4, Ipv6Address: w.ipv6,
				Mappings:  withHostBinding(l.req.Config.Mappings(l.process.Exposed), w),
				Addresses: protoconv.ToAddresses(l.req.Config.Network.Addresses)}
			if len(req.Mappings)+len(req.Addresses) == 0 {
				return nil // -P of an image without exposed ports
			}
			ctx, cancel := withCallTimeout(ctx)
			defer cancel()
			resp, err := l.r.Publications.Publish(ctx, req)
			if err != nil {
				return err
			}
			l.live.Bindings = protoconv.Bindings(resp.GetBindings())
			l.firewallWarnings = l.r.startHostFirewallCheck(ctx, l.live.Bindings)
			return nil
		},
		Undo: func(ctx context.Context) error {
			_, err := l.r.Publications.Release(ctx, &natv1.ReleaseRequest{Owner: l.id})
			return err
		},
	}
}
