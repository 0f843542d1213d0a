package agents

import (
	"context"
	"errors"
	"time"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Publication holds the ports and addresses that a container publishes.
type Publication struct {
	Owner, OwnerName string
	Target           container.PublishTarget
	Mappings         []port.Mapping
	Addresses        []port.Address
}

// IsEmpty reports whether nothing is published.
func (p *Publication) IsEmpty() bool { return len(p.Mappings)+len(p.Addresses) == 0 }

// toProto converts a publication. Mappings without a host address get the host binding of the
// network.
func (p *Publication) toProto() *natv1.PublishRequest {
	req := &natv1.PublishRequest{Owner: p.Owner, OwnerName: p.OwnerName, Ipv4Address: p.Target.IPv4,
		Ipv6Address: p.Target.IPv6}
	if p.Target == (container.PublishTarget{}) {
		return req // there is no address to forward to
	}
	req.Mappings, req.Addresses = portpb.MappingsToProto(p.Mappings), portpb.AddressesToProto(p.Addresses)
	for _, m := range req.Mappings {
		if m.HostIp == "" {
			m.HostIp = p.Target.HostBinding
		}
	}
	return req
}

// Publish publishes ports and addresses.
func (a *Agents) Publish(ctx context.Context, p Publication) ([]port.Binding, error) {
	resp, err := a.cfg.Publications.Publish(ctx, p.toProto())
	if err != nil {
		return nil, err
	}
	return portpb.BindingsFromProto(resp.GetBindings())
}

// UpdatePublication replaces a publication. With keepOpen, connections to former addresses stay
// open.
func (a *Agents) UpdatePublication(ctx context.Context, p Publication, keepOpen bool) ([]port.Binding, error) {
	resp, err := a.cfg.Publications.UpdatePublication(ctx,
		&natv1.UpdatePublicationRequest{Publication: p.toProto(), KeepConnections: keepOpen})
	if err != nil {
		return nil, err
	}
	return portpb.BindingsFromProto(resp.GetBindings())
}

// Unpublish releases the publication of an owner.
func (a *Agents) Unpublish(ctx context.Context, uid string) error {
	_, err := a.cfg.Publications.Release(ctx, &natv1.ReleaseRequest{Owner: uid})
	return err
}

// Published returns the port bindings of natagent, by owner.
func (a *Agents) Published(ctx context.Context) (map[string][]port.Binding, error) {
	resp, err := a.cfg.Publications.ListPublications(ctx, &natv1.ListPublicationsRequest{})
	out := map[string][]port.Binding{}
	for _, p := range resp.GetPublications() {
		bindings, invalid := portpb.BindingsFromProto(p.GetBindings())
		out[p.GetOwner()] = bindings
		err = errors.Join(err, invalid)
	}
	return out, err
}

// CheckHostFirewall returns natagent's warnings about published ports.
func (a *Agents) CheckHostFirewall(ctx context.Context, bindings []port.Binding) ([]string, error) {
	resp, err := a.cfg.Publications.CheckHostFirewall(ctx,
		&natv1.CheckHostFirewallRequest{Bindings: portpb.BindingsToProto(bindings)})
	return resp.GetWarnings(), err
}

// DrainConnections waits until connections of addresses end, at most timeout.
func (a *Agents) DrainConnections(ctx context.Context, addresses []string, timeout time.Duration) error {
	_, err := a.cfg.Publications.DrainConnections(ctx,
		&natv1.DrainConnectionsRequest{Addresses: addresses, TimeoutMs: uint32(timeout.Milliseconds())})
	return err
}

// DeleteConntrack deletes the conntrack entries of addresses.
func (a *Agents) DeleteConntrack(ctx context.Context, addresses []string) error {
	_, err := a.cfg.Publications.DeleteConntrack(ctx, &natv1.DeleteConntrackRequest{Addresses: addresses})
	return err
}
