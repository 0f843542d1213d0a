package api

import (
	"context"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
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
}

// Appoint makes the called host a manager.
func (m *Manager) Appoint(ctx context.Context, keys Keys) error {
	ctx, cancel := context.WithTimeout(ctx, appointTimeout)
	defer cancel()
	authority, err := pki.EncodeKey(keys.Authority.Key)
	if err != nil {
		return err
	}
	store, err := pki.EncodeKey(keys.Store.Key)
	if err != nil {
		return err
	}
	_, err = m.client.Appoint(ctx, &fleetv1.AppointRequest{AuthorityKey: authority, StoreAuthorityKey: store,
		StoreAuthority: pki.EncodeCert(keys.Store.Cert), MemberId: keys.Member, Cluster: keys.Cluster,
		Store: keys.URLs})
	return m.failed(err)
}

// Appoint makes this host a manager.
func (s *enrollServer) Appoint(ctx context.Context, req *fleetv1.AppointRequest) (*fleetv1.AppointResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	keys := Keys{Member: req.GetMemberId(), Cluster: req.GetCluster(), URLs: req.GetStore()}
	if keys.Authority.Key, err = pki.DecodeKey(req.GetAuthorityKey(), "authority_key"); err != nil {
		return nil, err
	}
	if keys.Store.Key, err = pki.DecodeKey(req.GetStoreAuthorityKey(), "store_authority_key"); err != nil {
		return nil, err
	}
	if keys.Store.Cert, err = pki.DecodeCert(req.GetStoreAuthority(), "store_authority"); err != nil {
		return nil, err
	}
	return &fleetv1.AppointResponse{}, s.gate.Appoint(ctx, who, keys)
}
