package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// appointTimeout limits Appoint, which stops and starts processes.
const appointTimeout = 15 * time.Second

// Keys holds the keys and addresses that a manager needs.
type Keys struct {
	Authority pki.Authority // of the fleet; the certificate is known
	Store     pki.Authority // of the members of the store
	Member    uint64        // the ID of the host's member
	Cluster   string        // NAME=PEER-URL,... of all members
	URLs      []string      // of the store, for clients
	// Generation is that of the store.
	Generation uint64
	// External is the external store with its credentials. Then there are no Store, Member and Cluster.
	External *external.Store
}

// Appoint makes the called host a manager.
func (m *Manager) Appoint(ctx context.Context, keys Keys) error {
	ctx, cancel := context.WithTimeout(ctx, appointTimeout)
	defer cancel()
	authority, err := pki.EncodeKey(keys.Authority.Key)
	if err != nil {
		return err
	}
	req := &fleetv1.AppointRequest{AuthorityKey: authority, MemberId: keys.Member, Cluster: keys.Cluster,
		Store: keys.URLs, Generation: keys.Generation, ExternalStore: keys.External.Message()}
	if keys.External == nil {
		req.StoreAuthority = pki.EncodeCert(keys.Store.Cert)
		if req.StoreAuthorityKey, err = pki.EncodeKey(keys.Store.Key); err != nil {
			return err
		}
	}
	_, err = m.client.Appoint(ctx, req)
	return m.failed(err)
}

// Probed is the answer of a host to a probe.
type Probed struct {
	Now        time.Time // its clock
	Closed     []uint16  // ports of the calling host that it cannot connect to
	Generation uint64    // the highest one of the store that it knows
}

// Probe asks the called host for its clock, and which of the given ports of this host it cannot connect to.
func (m *Manager) Probe(ctx context.Context, ports []uint16) (Probed, error) {
	req := &fleetv1.ProbeRequest{}
	for _, port := range ports {
		req.Ports = append(req.Ports, uint32(port))
	}
	r, err := m.client.Probe(ctx, req)
	p := Probed{Now: r.GetNow().AsTime(), Generation: r.GetGeneration()}
	for _, port := range r.GetClosed() {
		p.Closed = append(p.Closed, uint16(port)) //nolint:gosec // one of the given ports
	}
	return p, m.failed(err)
}

// Probe tries ports of the calling host.
func (s *enrollServer) Probe(ctx context.Context, req *fleetv1.ProbeRequest) (*fleetv1.ProbeResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for _, port := range req.GetPorts() {
		if port == 0 || port > 65535 {
			return nil, fault.Invalidf("probe", "ports", "port %d is not a TCP port", port)
		}
		ports = append(ports, uint16(port))
	}
	p, err := s.gate.Probe(ctx, who, ports)
	if err != nil {
		return nil, err
	}
	r := &fleetv1.ProbeResponse{Now: timestamppb.New(p.Now), Generation: p.Generation}
	for _, port := range p.Closed {
		r.Closed = append(r.Closed, uint32(port))
	}
	return r, nil
}

// Appoint makes this host a manager.
func (s *enrollServer) Appoint(ctx context.Context, req *fleetv1.AppointRequest) (*fleetv1.AppointResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	keys := Keys{Member: req.GetMemberId(), Cluster: req.GetCluster(), URLs: req.GetStore(),
		Generation: req.GetGeneration(), External: external.Of(req.GetExternalStore())}
	if keys.Authority.Key, err = pki.DecodeKey(req.GetAuthorityKey(), "authority_key"); err != nil {
		return nil, err
	}
	if keys.External != nil {
		return &fleetv1.AppointResponse{}, s.gate.Appoint(ctx, who, keys)
	}
	if keys.Store.Key, err = pki.DecodeKey(req.GetStoreAuthorityKey(), "store_authority_key"); err != nil {
		return nil, err
	}
	if keys.Store.Cert, err = pki.DecodeCert(req.GetStoreAuthority(), "store_authority"); err != nil {
		return nil, err
	}
	return &fleetv1.AppointResponse{}, s.gate.Appoint(ctx, who, keys)
}
