package launch

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// resolveReferences resolves networks to full names, and a joined container to its ID.
func (l *launch) resolveReferences(ctx context.Context) error {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()

	if err := l.resolveNamespaces(); err != nil {
		return err
	}

	n := l.req.Config.Network
	if ref, ok := n.Mode.Joined(); ok {
		c, err := l.r.Store.FindContainer(ref)
		if fault.Is(err, fault.NotFound) {
			return joinTargetFault(ref)
		}
		if err != nil {
			return err
		}
		n.Mode = container.ModeJoin(c.ID)
	}

	var err error
	if n.Links, err = container.ResolveLinks(n.Links, l.r.Store.FindContainer); err != nil {
		return err
	}

	if err := l.r.resolveMounts(&l.req.Config); err != nil {
		return err
	}

	var unpublishable *agents.Network
	l.internal = len(n.Attachments) > 0
	for i, a := range n.Attachments {
		if a.Network == string(container.ModeBridge) {
			unpublishable, l.internal = nil, false
			continue // predefined; a missing one fails the launch
		}
		network, err := l.r.Agents.Network(ctx, a.Network)
		if err != nil {
			return err
		}
		l.internal = l.internal && network.Internal
		if i == 0 || unpublishable != nil {
			unpublishable = publishableOn(&network)
		}
		if n.Attachments[i].Links, err = container.ResolveLinks(a.Links, l.r.Store.FindContainer); err != nil {
			return err
		}
		if n.Attachments[i].Network = network.Name; i == 0 {
			n.Mode = container.Mode(n.Attachments[0].Network)
		}
	}

	l.req.Config.Network = n
	if unpublishable != nil && l.publishes() {
		return fault.New(fault.Invalid, "network "+unpublishable.Name, "ports cannot be published: containers on "+
			unpublishable.Driver+" networks have their own address on the LAN", fault.WithField("publish"),
			fault.WithHint("omit -p and connect to the container's own address, or add a bridge network"))
	}

	return l.req.Config.Validate() // resolved names can be equal
}

// publishableOn returns nil if ports can be published on the network, otherwise the network.
func publishableOn(n *agents.Network) *agents.Network {
	if n.Bridge != "" {
		return nil
	}
	return n
}
