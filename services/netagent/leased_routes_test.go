package netagent

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// classlessRoutes is the option with static routes (RFC 3442), each as "DESTINATION ROUTER".
func classlessRoutes(t *testing.T, routes ...string) dhcpv4.Modifier {
	t.Helper()
	var out []*dhcpv4.Route
	for _, text := range routes {
		to, via, _ := strings.Cut(text, " ")
		_, dest, err := net.ParseCIDR(to)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &dhcpv4.Route{Dest: dest, Router: net.ParseIP(via)})
	}
	return dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(out...))
}

func searches(domains ...string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: domains}))
}

// dhcpRoutes returns the routes of a sandbox that come from DHCP.
func (a *agent) dhcpRoutes(sb endpoint.Sandbox) string {
	var out []string
	for line := range strings.Lines(a.in(sb, "ip", "route", "show", "proto", "dhcp")) {
		out = append(out, strings.TrimSpace(line))
	}
	return strings.Join(out, ", ")
}

func TestDHCPRoutesAndSearchDomains(t *testing.T) {
	h := newHost(t)
	a := h.run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "10.9.0.254/24", "172.30.0.1/16")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 6, options: []dhcpv4.Modifier{
		classlessRoutes(t, "0.0.0.0/0 10.9.0.254", "172.30.0.0/16 10.9.0.2", "192.168.7.0/24 0.0.0.0",
			"10.8.0.0/16 192.168.7.1"), searches("lan.test", "a\nb")}}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	const first = "10.8.0.0/16 via 192.168.7.1 dev eth0, 172.30.0.0/16 via 10.9.0.2 dev eth0, 192.168.7.0/24 " +
		"dev eth0 scope link"
	if got := a.dhcpRoutes(sb); got != first {
		t.Errorf("got routes %s", got)
	}
	if r := a.defaultRoute(sb); r != "default via 10.9.0.254 dev eth0" {
		t.Errorf("got default route %q", r)
	}
	if got := sb.Endpoints[0].Search(); strings.Join(got, " ") != "lan.test" {
		t.Errorf("got search domains %q", got)
	}

	// A renewal changes the routes. Routes that the container added itself stay.
	a.in(sb, "ip", "route", "add", "10.77.0.0/16", "via", "10.9.0.1")
	a.in(sb, "ip", "route", "add", "10.78.0.0/16", "via", "10.9.0.1")
	s.set(func(s *fakeDHCP) {
		s.options = []dhcpv4.Modifier{classlessRoutes(t, "172.30.0.0/16 10.9.0.1", "10.78.0.0/16 10.9.0.3",
			"10.9.0.99/32 10.9.0.1"), searches("other.test")}
	})

	const second = "10.9.0.99 via 10.9.0.1 dev eth0, 172.30.0.0/16 via 10.9.0.1 dev eth0"
	a.eventually("the new routes are applied", func() bool { return a.dhcpRoutes(sb) == second })
	a.eventually("the default route is removed", func() bool {
		return a.in(sb, "ip", "route", "show", "default") == ""
	})

	has(t, "routes", a.in(sb, "ip", "route"), "10.77.0.0/16 via 10.9.0.1 dev eth0",
		"10.78.0.0/16 via 10.9.0.1 dev eth0")
	a.eventually("the lease is stored and applied", func() bool {
		now, _ := a.sandboxes.Get(sb.Owner)
		return strings.Join(now.Endpoints[0].Search(), " ") == "other.test" && !now.Endpoints[0].LeaseUnapplied
	})

	a.mustReach(sb.NetnsPath, "172.30.0.1")

	// The agent was killed after it stored the lease and before it applied it.
	s.set(func(s *fakeDHCP) { s.seconds = 3600 })
	a.eventually("the lease is renewed for an hour", func() bool {
		now, _ := a.sandboxes.Get(sb.Owner)
		return now.Endpoints[0].Lease4.Renew.Sub(now.Endpoints[0].Lease4.Granted).Minutes() > 1
	})

	now, _ := a.sandboxes.Get(sb.Owner)
	now.Endpoints[0].LeaseUnapplied = true
	if err := a.store.PutSandbox(now); err != nil {
		t.Fatal(err)
	}

	a.stop()
	h.in(sb, "ip", "route", "del", "172.30.0.0/16")
	h.in(sb, "ip", "addr", "add", "10.9.0.39/24", "dev", "eth0")
	a = h.run()
	a.eventually("the routes are restored", func() bool { return a.dhcpRoutes(sb) == second })
	a.eventually("the lease is applied", func() bool {
		now, _ := a.sandboxes.Get(sb.Owner)
		return !now.Endpoints[0].LeaseUnapplied
	})

	a.hasNot("the interface", a.addresses(sb), "10.9.0.39")

	// An interface that was deleted with its parent is recreated with its DHCP routes. A route of the
	// container that replaced one of them is not.
	a.ns.Run("ip", "link", "del", "lan0")
	a.eventually("the interface is deleted", func() bool { return a.dhcpRoutes(sb) == "" })
	a.ns.Run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "wire", "netns", lan.Path())
	lan.Run("ip", "link", "set", "wire", "up")
	a.ns.Run("ip", "link", "set", "lan0", "up")
	a.eventually("the interface is recreated with its routes", func() bool {
		return a.dhcpRoutes(sb) == "10.9.0.99 via 10.9.0.1 dev eth0, 10.78.0.0/16 via 10.9.0.3 dev eth0, "+
			"172.30.0.0/16 via 10.9.0.1 dev eth0"
	})

	a.release(sb)
}

func TestConnectAndDisconnectUpdateDHCPRoutes(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	a.network(withSubnet("n1", "10.1.0.0/24"))
	s := &fakeDHCP{address: "10.9.0.40", seconds: 3600, options: []dhcpv4.Modifier{classlessRoutes(t,
		"10.1.0.7/32 10.9.0.1", "10.0.0.0/8 10.9.0.1", "0.0.0.0/0 10.9.0.1")}}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1", Priority: 7}))
	sb = a.connect(sb, endpoint.Spec{Network: "lan"})

	// A DHCP route into a subnet of another network of the container is ignored.
	if got := a.dhcpRoutes(sb); got != "10.0.0.0/8 via 10.9.0.1 dev eth1" {
		t.Errorf("after connect: got routes %s", got)
	}
	if r := a.defaultRoute(sb); r != "default via 10.1.0.1 dev eth0" {
		t.Errorf("got default route %q", r)
	}
	if _, err := a.sandboxes.Disconnect(context.Background(), sb.Owner, "lan"); err != nil {
		t.Fatal(err)
	}
	if got := a.dhcpRoutes(sb); got != "" {
		t.Errorf("after disconnect: got routes %s", got)
	}

	a.release(sb)
}

func TestRouterOutsideSubnetUsesOnLinkRoute(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "10.4.0.1/32")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 3600,
		options: []dhcpv4.Modifier{dhcpv4.WithNetmask(net.CIDRMask(32, 32)),
			classlessRoutes(t, "10.9.0.1/32 0.0.0.0", "0.0.0.0/0 10.9.0.1")}}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	has(t, "eth0", a.addresses(sb), "10.9.0.40/32")
	if r := a.defaultRoute(sb); r != "default via 10.9.0.1 dev eth0" ||
		a.dhcpRoutes(sb) != "10.9.0.1 dev eth0 scope link" {
		t.Errorf("got default route %q, DHCP routes %q", r, a.dhcpRoutes(sb))
	}

	a.mustReach(sb.NetnsPath, "10.4.0.1")
	a.release(sb)
}
