package agents

import (
	"context"

	"github.com/fairlead/fairlead/proto/bandwidth"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// Sandbox is the network namespace of a container, with its endpoints.
type Sandbox struct {
	Owner           string
	NetnsPath       string
	Endpoints       []container.Endpoint
	Former          []string // addresses that renumbering has replaced
	NamespaceOnly   bool     // kept for joined containers, without endpoints
	RenumberPending bool
	External        bool // another program created the namespace, for example a CNI runtime
}

func sandboxFromProto(in *networkv1.Sandbox) Sandbox {
	out := Sandbox{Owner: in.GetOwner(), NetnsPath: in.GetNetnsPath(), NamespaceOnly: in.GetNetnsOnly(),
		Endpoints: protoconv.EndpointsFromProto(in.GetEndpoints()), RenumberPending: in.GetRenumberPending(),
		External: in.GetMode() == networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL}
	for _, e := range in.GetEndpoints() {
		out.Former = append(out.Former, e.GetFormerAddresses()...)
	}
	return out
}

// CreateSandbox creates the sandbox of a container. Called again it updates the owner's name.
func (a *Agents) CreateSandbox(ctx context.Context, uid, name string, n *container.Network) (Sandbox, error) {
	req := &networkv1.CreateSandboxRequest{Owner: uid, OwnerName: name,
		Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE}
	if n.Mode == container.ModeHost {
		req.Mode = networkv1.SandboxMode_SANDBOX_MODE_HOST
	}
	for _, at := range n.Attachments {
		req.Endpoints = append(req.Endpoints, protoconv.EndpointSpecToProto(at, n.Bandwidth))
	}
	resp, err := a.cfg.Sandboxes.CreateSandbox(ctx, req)
	return sandboxFromProto(resp.GetSandbox()), err
}

// Kept selects what ReleaseSandbox keeps.
type Kept struct {
	Namespace bool // the namespace, with lo only
	Addresses bool // reservations of static addresses, and affinity to dynamic ones
}

// ReleaseSandbox releases the sandbox and the addresses of an owner.
func (a *Agents) ReleaseSandbox(ctx context.Context, uid string, keep Kept) error {
	_, err := a.cfg.Sandboxes.Release(ctx,
		&networkv1.ReleaseRequest{Owner: uid, KeepNamespace: keep.Namespace, KeepAddresses: keep.Addresses})
	return err
}

// ReserveAddresses replaces the address reservations of a container by its static addresses.
func (a *Agents) ReserveAddresses(ctx context.Context, uid string, n *container.Network) error {
	ctx, cancel := WithTimeout(ctx)
	defer cancel()
	req := &networkv1.ReserveAddressesRequest{Owner: uid}
	for _, at := range n.Attachments {
		if at.Fixed() {
			req.Endpoints = append(req.Endpoints, protoconv.EndpointSpecToProto(at, n.Bandwidth))
		}
	}
	_, err := a.cfg.Sandboxes.ReserveAddresses(ctx, req)
	return err
}

// ConnectEndpoint connects a sandbox to a network.
func (a *Agents) ConnectEndpoint(ctx context.Context, uid string, at container.Attachment,
	limit bandwidth.Limit) (Sandbox, error) {
	ctx, cancel := WithTimeout(ctx)
	defer cancel()
	resp, err := a.cfg.Sandboxes.ConnectEndpoint(ctx,
		&networkv1.ConnectEndpointRequest{Owner: uid, Endpoint: protoconv.EndpointSpecToProto(at, limit)})
	return sandboxFromProto(resp.GetSandbox()), err
}

// SetBandwidth changes the limits of all endpoints of a sandbox.
func (a *Agents) SetBandwidth(ctx context.Context, uid string, limit bandwidth.Limit) error {
	ctx, cancel := WithTimeout(ctx)
	defer cancel()
	_, err := a.cfg.Sandboxes.SetBandwidth(ctx, &networkv1.SetBandwidthRequest{Owner: uid, BandwidthIn: limit.In,
		BandwidthOut: limit.Out, BandwidthUnlimited: limit.None})
	return err
}

// DisconnectEndpoint disconnects a sandbox, or releases the DHCP lease held for a stopped
// container.
func (a *Agents) DisconnectEndpoint(ctx context.Context, uid, network string) (Sandbox, error) {
	ctx, cancel := WithTimeout(ctx)
	defer cancel()
	resp, err := a.cfg.Sandboxes.DisconnectEndpoint(ctx,
		&networkv1.DisconnectEndpointRequest{Owner: uid, Network: network})
	return sandboxFromProto(resp.GetSandbox()), err
}

// Sandbox returns the sandbox of an owner.
func (a *Agents) Sandbox(ctx context.Context, uid string) (Sandbox, error) {
	resp, err := a.cfg.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: uid})
	return sandboxFromProto(resp.GetSandbox()), err
}

// Sandboxes returns all sandboxes.
func (a *Agents) Sandboxes(ctx context.Context) ([]Sandbox, error) {
	resp, err := a.cfg.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	var out []Sandbox
	for _, sb := range resp.GetSandboxes() {
		out = append(out, sandboxFromProto(sb))
	}
	return out, err
}

// SandboxOwners returns the owners of all sandboxes.
func (a *Agents) SandboxOwners(ctx context.Context) ([]string, error) {
	resp, err := a.cfg.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	var out []string
	for _, sb := range resp.GetSandboxes() {
		out = append(out, sb.GetOwner())
	}
	return out, err
}

// ReservationOwners returns the owners of address reservations, with or without a sandbox.
func (a *Agents) ReservationOwners(ctx context.Context) ([]string, error) {
	resp, err := a.cfg.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	return resp.GetReservationOwners(), err
}

// WatchSandboxes subscribes to changes of sandboxes. The returned function blocks until the next
// change, or fails when the subscription ends.
func (a *Agents) WatchSandboxes(ctx context.Context) (next func() error, err error) {
	changes, err := a.cfg.Sandboxes.WatchSandboxes(ctx, &networkv1.WatchSandboxesRequest{})
	if err != nil {
		return nil, err
	}
	return func() error { _, err := changes.Recv(); return err }, nil
}

// RenumberSandbox adds the new addresses of a sandbox that is to be renumbered.
func (a *Agents) RenumberSandbox(ctx context.Context, uid string) (Sandbox, error) {
	resp, err := a.cfg.Sandboxes.RenumberSandbox(ctx, &networkv1.RenumberSandboxRequest{Owner: uid})
	return sandboxFromProto(resp.GetSandbox()), err
}

// CompleteRenumbering removes the former addresses of a sandbox and returns them.
func (a *Agents) CompleteRenumbering(ctx context.Context, uid string) (removed []string, err error) {
	resp, err := a.cfg.Sandboxes.CompleteRenumbering(ctx, &networkv1.CompleteRenumberingRequest{Owner: uid})
	return resp.GetRemovedAddresses(), err
}
