package cni

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Delete removes an attachment. Neither the namespace nor the network needs to exist, and it does nothing
// if there is no attachment.
func (p *Plugin) Delete(ctx context.Context, a Attachment) error {
	owner := Owner(a.ContainerID)
	have, err := p.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: owner})
	if fault.Is(err, fault.NotFound) {
		return p.release(ctx, owner)
	}
	if err != nil {
		return err
	}

	sb := have.GetSandbox()
	e, ok := endpointOf(sb, a.Interface)
	switch {
	case !ok && len(sb.GetEndpoints()) > 0:
		return nil
	case len(sb.GetEndpoints()) <= 1:
		return p.release(ctx, owner)
	}
	return p.disconnect(ctx, sb, e)
}

// release releases everything that a container has.
func (p *Plugin) release(ctx context.Context, owner string) error {
	unpublished := make(chan error, 1)
	go func() {
		_, err := p.Publications.Release(ctx, &natv1.ReleaseRequest{Owner: owner})
		unpublished <- err
	}()
	_, err := p.Names.Release(ctx, &dnsv1.ReleaseRequest{Owner: owner})
	if err = errors.Join(err, <-unpublished); err != nil {
		return err
	}

	_, err = p.Sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: owner})
	return err
}

// disconnect removes one of several endpoints, with what belongs to it.
func (p *Plugin) disconnect(ctx context.Context, sb *networkv1.Sandbox, e *networkv1.Endpoint) error {
	bindings, err := p.publication(ctx, sb.GetOwner())
	if err != nil {
		return err
	}
	gone := addressesOf(&networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{e}})
	if slices.ContainsFunc(bindings, func(b *natv1.PortBinding) bool {
		return slices.Contains(gone,
			b.GetContainerIp())
	}) {
		if _, err := p.Publications.Release(ctx, &natv1.ReleaseRequest{Owner: sb.GetOwner()}); err != nil {
			return err
		}
	}

	left := &networkv1.Sandbox{}
	for _, other := range sb.GetEndpoints() {
		if other.GetId() != e.GetId() {
			left.Endpoints = append(left.Endpoints, other)
		}
	}
	_, err = p.Names.Update(ctx, &dnsv1.UpdateRequest{Owner: sb.GetOwner(), Addresses: addressesOf(left),
		Networks: registrations(left)})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}

	_, err = p.Sandboxes.DisconnectEndpoint(ctx,
		&networkv1.DisconnectEndpointRequest{Owner: sb.GetOwner(), Network: e.GetNetworkId()})
	return err
}

// Collect removes the attachments of a configuration that the runtime does not know.
func (p *Plugin) Collect(ctx context.Context, c Config) error {
	known := map[[2]string]bool{}
	for _, valid := range c.ValidAttachments {
		known[[2]string{Owner(valid.ContainerID), valid.IfName}] = true
	}
	all, err := p.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	if err != nil {
		return err
	}

	var errs []error
	for _, sb := range all.GetSandboxes() {
		if sb.GetMode() != networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL {
			continue
		}
		errs = append(errs, p.collect(ctx, c, sb, known))
	}
	return errors.Join(errs...)
}

// collect removes the unknown endpoints of one sandbox.
func (p *Plugin) collect(ctx context.Context, c Config, sb *networkv1.Sandbox, known map[[2]string]bool) error {
	var stale []*networkv1.Endpoint
	for _, e := range sb.GetEndpoints() {
		if e.GetLabels()[labelNetwork] == c.Name && !known[[2]string{sb.GetOwner(), e.GetInterfaceName()}] {
			stale = append(stale, e)
		}
	}
	if len(stale) == len(sb.GetEndpoints()) && len(stale) > 0 {
		return p.release(ctx, sb.GetOwner())
	}

	var errs []error
	for _, e := range stale {
		errs = append(errs, p.disconnect(ctx, sb, e))
		sb.Endpoints = slices.DeleteFunc(sb.Endpoints, func(o *networkv1.Endpoint) bool { return o == e })
	}
	return errors.Join(errs...)
}
