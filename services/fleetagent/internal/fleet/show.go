package fleet

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/hostinfo"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Get returns what this host knows of its fleet.
func (f *Fleet) Get(context.Context) (*fleetv1.GetFleetResponse, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	hosts, _ := p.listProblems()
	var keys []*fleetv1.TunnelKey
	p.mirror.Read(func(v *view.View) { keys = v.TunnelKeys() })
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &fleetv1.GetFleetResponse{TunnelKeys: keys, FleetId: p.m.Fleet, HostId: p.m.Host, Store: p.m.Store,
		CertificateExpires: timestamppb.New(p.m.Cert.NotAfter), HostName: p.m.Name,
		Role: fleetv1.HostRole_HOST_ROLE_MEMBER, ExternalStore: p.m.External.Shown()}
	if p.m.IsManager() {
		r.Role = fleetv1.HostRole_HOST_ROLE_MANAGER
	}
	if err := p.outage.Err(); err != nil {
		r.StoreError = err.Error()
	}
	for _, h := range hosts {
		if h.GetId() == p.m.Host {
			r.Problems = h.GetProblems()
		}
	}
	return r, nil
}

// listProblems returns the hosts with the problems of their data paths.
func (p *part) listProblems() ([]*fleetv1.Host, error) {
	hosts, err := p.list()
	p.mirror.Read(func(v *view.View) { hostinfo.Problems(hosts, v.Info) })
	return hosts, err
}

// Hosts returns the hosts of the fleet, also while the store is away.
func (f *Fleet) Hosts(context.Context) (hosts []*fleetv1.Host, outdated string, err error) {
	p, err := f.current()
	if err != nil {
		return nil, "", err
	}
	hosts, storeErr := p.listProblems()
	if storeErr != nil {
		outdated = storeErr.Error()
	}
	return hosts, outdated, nil
}

// Endpoints returns the endpoints of a network on all hosts, also while the store is away.
func (f *Fleet) Endpoints(_ context.Context, network string) (all []*fleetv1.HostEndpoint, err error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	p.mirror.Read(func(v *view.View) {
		for _, e := range v.OnNetwork(network) {
			shown := &fleetv1.OverlayEndpoint{NetworkId: e.GetNetworkId(), Owner: e.GetOwner(), HostId: e.GetHostId(),
				NetworkName: e.GetNetworkName(), Addresses: e.GetAddresses(), Names: e.GetNames()}
			all = append(all, &fleetv1.HostEndpoint{Endpoint: shown, HostName: v.Hosts()[e.GetHostId()].GetName()})
		}
	})
	return all, nil
}

// IssueToken returns a new join token with the addresses of all managers.
func (f *Fleet) IssueToken(ctx context.Context, valid time.Duration, uses uint32, role token.Role) (string,
	time.Time, error) {
	p, err := f.current()
	if err != nil {
		return "", time.Time{}, err
	}
	a, err := p.admission()
	if err != nil {
		return "", time.Time{}, err
	}
	expires := f.cfg.Now().Add(valid)
	var secret [token.SecretLen]byte
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		secret, err = a.IssueToken(ctx, valid, uses, role)
		return err
	}); err != nil {
		return "", time.Time{}, err
	}

	m := p.membership()
	t := token.Token{Managers: p.managers(), CA: pki.Digest(m.CA), Secret: secret, Role: role}
	if len(t.Managers) == 0 { // the list of hosts has not arrived yet
		address, err := netip.ParseAddr(m.Address)
		if err != nil {
			return "", expires, fault.New(fault.Internal, "fleet membership", "has no address", fault.WithCause(err))
		}
		t.Managers = []netip.AddrPort{netip.AddrPortFrom(address, m.Port)}
	}
	return t.String(), expires, nil
}

func cloneHost(h *fleetv1.Host) *fleetv1.Host { return proto.CloneOf(h) }

func compareNames(a, b *fleetv1.Host) int { return strings.Compare(a.GetName(), b.GetName()) }
