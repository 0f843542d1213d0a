package sandbox

import (
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// allocate allocates the addresses of all endpoints and chooses their interface names and gateways.
func (m *Manager) allocate(req endpoint.Request, nets []store.Network) (endpoint.Sandbox, error) {
	sb := endpoint.Sandbox{Owner: req.Owner, OwnerName: req.OwnerName, Mode: req.Mode, CreatedAt: time.Now().UTC(),
		External: req.External}
	if req.Mode == endpoint.Private {
		sb.NetnsPath = m.pinOf(req.Owner)
	}

	names := map[string]bool{}
	for _, spec := range req.Endpoints {
		names[spec.Interface] = true
	}

	plain := make([]network.Network, len(nets))
	for i, n := range nets {
		plain[i] = n.Network
		e, err := m.addresses.Endpoint(req.Owner, n.Network, req.Endpoints[i], names)
		if err != nil {
			m.addresses.Release(sb)
			return endpoint.Sandbox{}, err
		}
		sb.Endpoints = append(sb.Endpoints, m.drivers[n.Driver].Complete(n.Network, e))
	}

	sb.Endpoints = endpoint.ChooseGateways(sb.Endpoints, plain)
	return sb, nil
}
