package registration_test

import (
	"reflect"
	"testing"

	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

func TestUpstreamPrecedence(t *testing.T) {
	none, configured := resolvconf.Conf{}, resolvconf.Conf{Servers: addrs("8.8.8.8")}
	open := registration.Network{ID: "1", Addresses: addrs("10.1.0.2")}
	internal := registration.Network{ID: "2", Addresses: addrs("10.2.0.2"), Internal: true}
	byDefault := registration.Network{Name: "default", Addresses: addrs("172.17.0.2")}
	served := registration.Network{ID: "3", Addresses: addrs("10.3.0.2"), Servers: addrs("9.9.9.9")}
	for name, c := range map[string]struct {
		own, configured resolvconf.Conf
		networks        []registration.Network
		want            registration.Upstream
	}{
		"no settings": {none, none, []registration.Network{open}, registration.Upstream{Host: true}},
		"one external": {none, none, []registration.Network{internal, open},
			registration.Upstream{Host: true}},
		"all internal": {none, none, []registration.Network{internal}, registration.Upstream{}},
		"no network":   {none, none, nil, registration.Upstream{}},
		"internal and default": {none, none, []registration.Network{internal, byDefault},
			registration.Upstream{Host: true}},
		"default only": {none, none, []registration.Network{byDefault}, registration.Upstream{Host: true}},
		"configured": {none, configured, []registration.Network{open},
			registration.Upstream{Servers: addrs("8.8.8.8")}},
		"its own": {resolvconf.Conf{Servers: addrs("1.1.1.1")}, configured,
			[]registration.Network{open}, registration.Upstream{Servers: addrs("1.1.1.1")}},
		"its own, all internal": {resolvconf.Conf{Servers: addrs("10.0.0.1")}, none,
			[]registration.Network{internal}, registration.Upstream{Servers: addrs("10.0.0.1")}},
		"its network's": {none, configured, []registration.Network{open, served},
			registration.Upstream{Servers: addrs("9.9.9.9")}},
		"its own and its network's": {resolvconf.Conf{Servers: addrs("1.1.1.1")}, none,
			[]registration.Network{served}, registration.Upstream{Servers: addrs("1.1.1.1")}},
		"the resolver as its own": {resolvconf.Conf{Servers: addrs("127.0.0.11", "1.1.1.1")}, none, nil,
			registration.Upstream{Servers: addrs("1.1.1.1")}},
	} {
		r := registration.Registration{Owner: owner, Source: registration.Resolver, Names: c.own}
		for _, n := range c.networks {
			r.Addresses = append(r.Addresses, n.Addresses...)
			if n.ID != "" {
				r.Networks = append(r.Networks, n)
			}
		}
		if got := r.Upstream(c.configured); got.Host != c.want.Host ||
			len(got.Servers) != len(c.want.Servers) || len(got.Servers) > 0 && got.Servers[0] != c.want.Servers[0] {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestZoneContainer(t *testing.T) {
	r := registration.Registration{Owner: owner, Source: registration.Resolver,
		Networks: []registration.Network{{ID: "1", Name: "front", Addresses: addrs("10.1.0.2"),
			Names: []string{"web", "www"}}},
		Aliases: []registration.Alias{{Alias: "store", Name: "db"}}}
	want := zone.Container{Owner: owner, Aliases: map[string][]string{"store": {"db"}},
		Members: []zone.Member{{Network: "1", NetworkName: "front", Addresses: addrs("10.1.0.2"),
			Names: []string{"web", "www"}}}}
	if got := r.ZoneContainer(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
