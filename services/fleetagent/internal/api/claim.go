package api

import (
	"context"
	"net/netip"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
)

// Claims changes who owns blocks. It is implemented by fleet.Fleet for managers.
type Claims interface {
	Claim(ctx context.Context, c ledger.Caller, network string, subnet, exact netip.Prefix) (
		*fleetv1.OverlayBlock, error)
	Give(ctx context.Context, c ledger.Caller, network string, p netip.Prefix, to string) error
	Confirm(ctx context.Context, c ledger.Caller, network string) error
}

type claimServer struct {
	fleetv1.UnimplementedClaimServiceServer
	claims Claims
	enroll *enrollServer // knows the callers
}

// Claim makes a block the calling host's.
func (s *claimServer) Claim(ctx context.Context, req *fleetv1.ClaimRequest) (*fleetv1.ClaimResponse, error) {
	who, err := s.enroll.caller(ctx)
	if err != nil {
		return nil, err
	}
	subnet, exact, err := parseClaim(req.GetSubnet(), req.GetPrefix())
	if err != nil {
		return nil, err
	}
	b, err := s.claims.Claim(ctx, ledger.Caller{Host: who.Host, Epoch: req.GetEpoch()}, req.GetNetworkId(), subnet,
		exact)
	if err != nil {
		return nil, err
	}
	return &fleetv1.ClaimResponse{Block: b}, nil
}

// Give returns a block of the calling host, or gives a part of it to another host.
func (s *claimServer) Give(ctx context.Context, req *fleetv1.GiveRequest) (*fleetv1.GiveResponse, error) {
	who, err := s.enroll.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := parsePrefix("block", req.GetPrefix())
	if err != nil {
		return nil, err
	}
	return &fleetv1.GiveResponse{}, s.claims.Give(ctx, ledger.Caller{Host: who.Host, Epoch: req.GetEpoch()},
		req.GetNetworkId(), p, req.GetToHostId())
}

// Confirm releases the blocks of a network that the calling host does not have any more.
func (s *claimServer) Confirm(ctx context.Context, req *fleetv1.ConfirmRequest) (*fleetv1.ConfirmResponse, error) {
	who, err := s.enroll.caller(ctx)
	if err != nil {
		return nil, err
	}
	return &fleetv1.ConfirmResponse{}, s.claims.Confirm(ctx, ledger.Caller{Host: who.Host, Epoch: req.GetEpoch()},
		req.GetNetworkId())
}

// Claim asks the manager for a block.
func (m *Manager) Claim(ctx context.Context, c ledger.Caller, network string, subnet, exact netip.Prefix) (
	*fleetv1.OverlayBlock, error) {
	req := &fleetv1.ClaimRequest{Epoch: c.Epoch, NetworkId: network, Subnet: subnet.String()}
	if exact.IsValid() {
		req.Prefix = exact.String()
	}
	r, err := m.claims.Claim(ctx, req)
	return r.GetBlock(), m.failed(err)
}

// Give returns a block, or gives a part of one to another host.
func (m *Manager) Give(ctx context.Context, c ledger.Caller, network string, p netip.Prefix, to string) error {
	_, err := m.claims.Give(ctx, &fleetv1.GiveRequest{Epoch: c.Epoch, NetworkId: network, Prefix: p.String(),
		ToHostId: to})
	return m.failed(err)
}

// Confirm releases the blocks of a network that this host does not have any more.
func (m *Manager) Confirm(ctx context.Context, c ledger.Caller, network string) error {
	_, err := m.claims.Confirm(ctx, &fleetv1.ConfirmRequest{Epoch: c.Epoch, NetworkId: network})
	return m.failed(err)
}
