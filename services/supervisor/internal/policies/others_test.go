package policies_test

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
)

// TestPeersOfOtherHosts checks what natagent gets while containers of other hosts come and go.
func TestPeersOfOtherHosts(t *testing.T) {
	_, n, s := newPolicies(t)
	p := policies.New(policies.Config{Log: slog.New(slog.DiscardHandler), Store: s, Agents: agents.New(agents.Config{
		Policies: n, Networks: n, Overlay: fleetv1.NewOverlayServiceClient(nil)})})
	apply := func(name, address string, rules ...string) func() error {
		return func() error { return p.Apply(t.Context(), member(name, address, rules...)) }
	}
	hosts := func(c agents.OthersChange) func() error {
		c.Complete = true
		return func() error {
			p.Others.Apply(c)
			return p.Push(t.Context())
		}
	}
	other := func(owner, name, address string) agents.Other {
		return agents.Other{OtherKey: agents.OtherKey{Host: "h2", Network: "app", Owner: owner}, Name: name,
			NetworkName: "app", Labels: map[string]string{"name": "api"}, Addresses: []netip.Addr{
				netip.MustParseAddr(address)}}
	}
	gone := []agents.OtherKey{other("c1", "", "10.1.0.2").OtherKey}

	for i, c := range []struct {
		do   func() error
		want []string
	}{
		{apply("web", "10.0.0.2", "container:db", "label:name=api"), []string{
			"peers container:db= label:name=api= others unknown", "put web container:db,label:name=api"}},
		{apply("db", "10.0.0.3"), []string{"peers container:db=10.0.0.3/32 label:name=api= others unknown"}},
		{hosts(agents.OthersChange{Reset: true}), []string{"peers container:db=10.0.0.3/32 label:name=api="}},
		{hosts(agents.OthersChange{Put: []agents.Other{other("c1", "db", "10.1.0.2")}}), []string{
			"peers container:db=10.0.0.3/32|10.1.0.2/32 label:name=api=|10.1.0.2/32"}},
		{hosts(agents.OthersChange{Hosts: map[string]string{"h2": "two"}}), nil},
		{hosts(agents.OthersChange{Put: []agents.Other{other("c1", "other", "10.1.0.2")}}), []string{
			"peers container:db=10.0.0.3/32 label:name=api=|10.1.0.2/32"}},
		{hosts(agents.OthersChange{Removed: gone}), []string{"peers container:db=10.0.0.3/32 label:name=api="}},
		{apply("web", "10.0.0.2"), []string{"peers ", "delete"}},
		{hosts(agents.OthersChange{Put: []agents.Other{other("c1", "db", "10.1.0.2")}}), nil},
	} {
		n.did = nil
		if err := c.do(); err != nil || !slices.Equal(n.did, c.want) {
			t.Errorf("%d: got %q, %v, want %q", i, n.did, err, c.want)
		}
	}
}
