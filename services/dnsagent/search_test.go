package dnsagent_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// searched returns a registration on networks with the given search domains.
func searched(owner string, domains ...[]string) *dnsv1.RegisterRequest {
	req := onNetworks(owner, []string{"lan 10.1.0.2 web", "other 10.2.0.2 web"}[:len(domains)]...)
	for i, d := range domains {
		req.Networks[i].Search = d
	}
	return req
}

func TestSearchDomainPrecedence(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	m.write("host/etc/resolv.conf", "search host.test\nnameserver 10.8.0.1\n")
	client, _ := m.start()
	owner := id.New()
	f := register(t, client, searched(owner, []string{"lan.test"}))
	is := func(what, want string) {
		t.Helper()
		if got := m.read(f.GetResolvConfPath()); got != want+"nameserver 127.0.0.11\noptions ndots:0\n" {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}

	follow := func(domains ...[]string) {
		t.Helper()
		req := searched(owner, domains...)
		if _, err := client.Update(t.Context(), &dnsv1.UpdateRequest{Owner: owner, Addresses: req.Addresses,
			Networks: req.Networks}); err != nil {
			t.Fatal(err)
		}
	}

	is("registered", "search lan.test\n")
	follow([]string{"lan.test", "b.test"}, []string{"b.test", "c.test"})
	is("with another network", "search lan.test b.test c.test\n")
	follow([]string{"d.test"})
	is("renamed", "search d.test\n")
	follow([]string(nil))
	is("without any", "search host.test\n")
	m.write(strings.TrimPrefix(f.GetResolvConfPath(), m.root), "nameserver 6.6.6.6\n")
	follow([]string{"lan.test"})
	is("edited in the container, after the next change", "search lan.test\n")

	for given, want := range map[string]string{"own.test": "search own.test\n", ".": ""} {
		owner = id.New()
		req := searched(owner, []string{"lan.test"})
		req.Search = []string{given}
		f = register(t, client, req)
		is("with "+given, want)
		follow([]string{"b.test"})
		is("with "+given+", after a change", want)
	}
}

func TestInvalidSearchDomainFails(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, _ := m.start()
	for _, bad := range []string{"a\nnameserver 6.6.6.6", "a b", "", "-a", "a\x00"} {
		_, err := client.Register(t.Context(), searched(id.New(), []string{"good.test", bad}))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is not a valid domain") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
