package endpoint_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

func TestInterfaceSysctls(t *testing.T) {
	e := endpoint.Endpoint{Interface: "eth1",
		Spec: endpoint.Spec{Network: "n1",
			Sysctls: []string{"net.ipv4.conf.IFNAME.log_martians=1", "net.ipv6.neigh.IFNAME.x=a b"}}}
	if err := e.Spec.Validate("s"); err != nil {
		t.Fatal(err)
	}

	got := e.InterfaceSysctls()
	if len(got) != 2 || got[0] != (endpoint.Sysctl{Path: "net/ipv4/conf/eth1/log_martians", Value: "1"}) ||
		got[1] != (endpoint.Sysctl{Path: "net/ipv6/neigh/eth1/x", Value: "a b"}) {
		t.Errorf("got %+v", got)
	}

	for _, s := range []string{"", "net.ipv4.conf.eth0.x=1", "net.ipv4.conf.IFNAME.x", "net.ipv4.conf.IFNAME.x=",
		"net.core.conf.IFNAME.x=1", "net.ipv4.conf.IFNAME.../../x=1",
		"net.ipv4.../..IFNAME.x=1", "net.ipv4.conf.IFNAME.x=1\n2", " net.ipv4.conf.IFNAME.x=1"} {
		err := (endpoint.Spec{Network: "n1", Sysctls: []string{s}}).Validate("s")
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want an Invalid fault", s, err)
		}
	}
}

func TestLinkLocalAddresses(t *testing.T) {
	spec := endpoint.Spec{Network: "n1", LinkLocal: []netip.Addr{addr("169.254.7.7"), addr("fe80::7")}}
	if err := spec.Validate("s"); err != nil {
		t.Fatal(err)
	}

	if got := (endpoint.Endpoint{Spec: spec}).LinkLocals(); len(got) != 2 || got[0] != prefix("169.254.7.7/16") ||
		got[1] != prefix("fe80::7/64") {
		t.Errorf("got %v", got)
	}

	for _, a := range []string{"10.0.0.1", "fd00::1", "::ffff:169.254.1.1", "fe80::1%eth0"} {
		err := (endpoint.Spec{Network: "n1", LinkLocal: []netip.Addr{addr(a)}}).Validate("s")
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an Invalid fault", a, err)
		}
	}
}
