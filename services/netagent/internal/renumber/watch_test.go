package renumber

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

func TestCompletedChangesOfNetworksWake(t *testing.T) {
	status := func(generation, followed uint64, renumbering bool) *store.Network {
		return &store.Network{Network: network.Network{Status: network.Status{Generation: generation,
			Followed: followed, Renumbering: renumbering}}}
	}
	for name, c := range map[string]struct {
		before, after *store.Network
		want          bool
	}{
		"created":               {nil, status(0, 0, false), false},
		"deleted":               {status(1, 1, false), nil, false},
		"changed, not followed": {status(1, 1, false), status(2, 1, true), false},
		"followed":              {status(2, 1, true), status(2, 2, true), true},
		"renumbering requested": {status(2, 2, false), status(2, 2, true), true},
		"acknowledged":          {status(2, 2, true), status(2, 2, true), false},
	} {
		if got := networkFollowed(c.before, c.after); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestChangedLeasesWake(t *testing.T) {
	leased := func(change func(*endpoint.Endpoint)) *endpoint.Sandbox {
		e := endpoint.Endpoint{ID: "e", IPv4: netip.MustParsePrefix("10.9.0.2/24"), Lease4: &lease.Terms{}}
		change(&e)
		return &endpoint.Sandbox{Owner: "a", Endpoints: []endpoint.Endpoint{{ID: "other"}, e}}
	}
	same := func(*endpoint.Endpoint) {}
	moved := func(e *endpoint.Endpoint) { e.IPv4 = netip.MustParsePrefix("10.9.0.3/24") }
	static := func(e *endpoint.Endpoint) { e.Lease4 = nil }
	for name, c := range map[string]struct {
		before, after *endpoint.Sandbox
		want          bool
	}{
		"created":  {nil, leased(same), false},
		"released": {leased(same), nil, false},
		"renewed": {leased(same), leased(func(e *endpoint.Endpoint) { e.Lease4 = &lease.Terms{MTU: 1400} }),
			false},
		"other address": {leased(same), leased(moved), true},
		"other server": {leased(same), leased(func(e *endpoint.Endpoint) { e.DNS = []netip.Addr{e.IPv4.Addr()} }),
			true},
		"lost": {leased(same), leased(func(e *endpoint.Endpoint) { e.IPv4, e.Lease4 = netip.Prefix{}, nil }),
			true},
		"applied": {leased(func(e *endpoint.Endpoint) { e.LeaseUnapplied = true }), leased(same), true},
		"not leased": {leased(static), leased(func(e *endpoint.Endpoint) {
			static(e)
			moved(e)
		}), false},
	} {
		if got := leasesChanged(c.before, c.after); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
