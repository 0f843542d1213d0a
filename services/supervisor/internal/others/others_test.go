package others_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/others"
)

func endpoint(host, network, owner, address string) agents.Other {
	return agents.Other{OtherKey: agents.OtherKey{Host: host, Network: network, Owner: owner}, Name: "name-" + owner,
		NetworkName: network, Labels: map[string]string{"of": owner}, Addresses: []netip.Addr{
			netip.MustParseAddr(address), netip.MustParseAddr("fd00::1")}}
}

// text returns what is known: node/name with addresses by network.
func text(s others.State) string {
	var all []string
	for _, m := range s.Members {
		one := m.Node + "/" + m.Name + "/" + m.Labels["of"]
		for _, e := range m.Endpoints {
			one += fmt.Sprintf(" %s=%s+%s", e.NetworkName, e.IPv4, e.IPv6)
		}
		all = append(all, one)
	}
	return strings.Join(all, ", ")
}

// TestChanges checks what is known after each change.
func TestChanges(t *testing.T) {
	o := others.New(false)
	if s := o.State(); s.Known || s.Version != 0 {
		t.Errorf("got %+v before the first state", s)
	}
	hosts := map[string]string{"h2": "two", "h3": "three"}
	const db = "two/name-c1/c1 app=10.1.0.2/32+fd00::1/128"
	for i, c := range []struct {
		change  agents.OthersChange
		changed bool
		want    string
	}{
		{agents.OthersChange{Reset: true, Hosts: hosts, Put: []agents.Other{endpoint("h2", "app", "c1", "10.1.0.2")}},
			false, ""}, // a part follows
		{agents.OthersChange{Complete: true, Put: []agents.Other{endpoint("h2", "back", "c1", "10.2.0.2")}}, true,
			db + " back=10.2.0.2/32+fd00::1/128"},
		{agents.OthersChange{Complete: true, Removed: []agents.OtherKey{{Host: "h2", Network: "back", Owner: "c1"}},
			Put: []agents.Other{endpoint("h3", "app", "c0", "10.1.0.3"), endpoint("h4", "app", "c4", "10.1.0.4")}},
			true,
			db + ", three/name-c0/c0 app=10.1.0.3/32+fd00::1/128, h4/name-c4/c4 app=10.1.0.4/32+fd00::1/128"},
		{agents.OthersChange{Complete: true, RemovedHosts: []string{"h3", "h4"}}, true, db},
		{agents.OthersChange{Reset: true}, false, db}, // a connection that broke
		{agents.OthersChange{Reset: true, Complete: true}, true, ""},
	} {
		before := o.State()
		changed := o.Apply(c.change)
		now := o.State()
		if changed != c.changed || text(now) != c.want || (now.Version != before.Version) != changed {
			t.Errorf("%d: got %v, %q, want %v, %q", i, changed, text(now), c.changed, c.want)
		}
	}
	if !o.State().Known || !others.New(true).State().Known {
		t.Error("not known")
	}
}
