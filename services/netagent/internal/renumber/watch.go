package renumber

import (
	"slices"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Watch returns a channel that receives a value initially and whenever sandboxes may need
// renumbering, or other names and ports, until stop is called. It watches the tables of networks and
// of sandboxes.
func (m *Renumberer) Watch() (changed <-chan struct{}, stop func()) {
	s := notify.NewSignal()
	wake := func(...string) { s.Notify() }
	stopNetworks := m.store.WatchNetworks(networkFollowed, wake)
	stopSandboxes := m.store.WatchSandboxes(func(before, after *endpoint.Sandbox) []string {
		if leasesChanged(before, after) {
			return []string{after.Owner}
		}
		return nil
	}, wake)
	s.Notify()
	return s, func() { stopNetworks(); stopSandboxes() }
}

// networkFollowed reports whether a change of a network is complete: natagent, the host and the
// present addresses follow it, so its sandboxes can get new addresses.
func networkFollowed(before, after *store.Network) bool {
	return before != nil && after != nil && !after.Status.EndpointsOutdated() &&
		(before.Status.Followed != after.Status.Followed || before.Status.Renumbering != after.Status.Renumbering)
}

// leasesChanged reports whether DHCP has given the same endpoints other addresses or name servers, or
// these are in effect now.
func leasesChanged(before, after *endpoint.Sandbox) bool {
	if before == nil || after == nil {
		return false
	}
	return slices.ContainsFunc(after.Endpoints, func(e endpoint.Endpoint) bool {
		i := slices.IndexFunc(before.Endpoints, func(had endpoint.Endpoint) bool { return had.ID == e.ID })
		if i < 0 || len(e.Leases())+len(before.Endpoints[i].Leases()) == 0 {
			return false
		}
		had := before.Endpoints[i]
		return had.LeaseUnapplied && !e.LeaseUnapplied || !slices.Equal(had.Addresses(), e.Addresses()) ||
			!slices.Equal(had.DNS, e.DNS) || !slices.Equal(had.Search(), e.Search())
	})
}
