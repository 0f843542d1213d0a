package netagent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func (a *agent) network(want network.Draft) network.Network {
	a.t.Helper()
	n, err := a.networks.Create(context.Background(), want)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// newNetwork creates a network with default settings.
func (a *agent) newNetwork(name string) network.Network {
	a.t.Helper()
	return a.network(network.Draft{Name: name})
}

// withSubnet is the specification of a network with one subnet.
func withSubnet(name, subnet string) network.Draft {
	return network.Draft{Name: name, Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix(subnet)}}}
}

// requestOn is a request for a sandbox on networks.
func requestOn(owner string, specs ...endpoint.Spec) endpoint.Request {
	return endpoint.Request{Owner: owner, OwnerName: "web", Mode: endpoint.Private, Endpoints: specs}
}

func TestNetworkHasOwnBridgeAndSubnet(t *testing.T) {
	a := newHost(t).run()
	one, two := a.newNetwork("n1"), a.newNetwork("n2")
	if got := one.Spec.Pools[0].HostPrefix().String() + " " +
		two.Spec.Pools[0].HostPrefix().String(); got != "172.18.0.1/26 172.18.8.1/26" {
		t.Errorf("got subnets %s", got)
	}
	if one.Bridge().Device != "br-"+one.ID[:12] {
		t.Errorf("got bridge %s", one.Bridge().Device)
	}

	has(t, "the bridge", a.ns.Run("ip", "-d", "addr", "show", one.Bridge().Device), "172.18.0.1/26",
		"02:42:ac:12:00:01",
		"mtu 1500")
	if got := a.ns.Run("cat", "/proc/sys/net/ipv4/conf/"+one.Bridge().Device+"/forwarding"); got != "1" {
		t.Errorf("got forwarding %s, want 1", got)
	}

	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n2"}))
	if got := a.address(sb); got != "172.18.8.2" {
		t.Errorf("got address %s", got)
	}

	a.mustReach(sb.NetnsPath, "172.18.8.1")
	if c := a.networks.PoolUsage(two); c[0] != (ipam.Usage{Used: 4, Free: 60}) {
		t.Errorf("got usage %+v", c)
	}

	puts := a.guard.Puts()
	if last := puts[len(puts)-1]; last.GetBridge() != two.Bridge().Device || last.GetSubnets()[0] != "172.18.8.0/26" ||
		!last.GetMasquerade() {
		t.Errorf("got firewall request %v", last)
	}
}

func TestDynamicSubnetAvoidsHostRoutes(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "vpn", "type", "veth", "peer", "name", "vpn1")
	h.ns.Run("ip", "link", "set", "vpn", "up")
	h.ns.Run("ip", "link", "set", "vpn1", "up")
	h.ns.Run("ip", "route", "add", "172.18.0.0/24", "dev", "vpn")
	h.ns.Run("ip", "route", "add", "128.0.0.0/1", "dev", "vpn") // the default route of a VPN
	a := h.run()
	if got := a.newNetwork("n1").Spec.Pools[0].Subnet.String(); got != "172.18.8.0/26" {
		t.Errorf("got dynamic subnet %s", got)
	}
	if got := a.network(withSubnet("n2", "172.18.0.0/25")).Spec.Pools[0].Subnet.String(); got != "172.18.0.0/25" {
		t.Errorf("got static subnet %s", got)
	}
	if got := a.network(withSubnet("n3", "0.0.0.0/24")).Spec.Pools[0].Subnet.String(); got != "172.18.16.0/24" {
		t.Errorf("any /24: got %s", got)
	}
}

func TestNetworkOptionsAreApplied(t *testing.T) {
	a := newHost(t).run()
	on6 := true
	n := a.network(network.Draft{Name: "lan", IPv6: &on6, Options: map[string]string{network.OptBridgeName: "br-lan",
		network.OptICC: "false",
		network.OptMTU: "1400", network.OptPrefix: "lan", network.OptMasquerade: "false"},
		Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix("10.7.0.0/24"),
			Range: netip.MustParsePrefix("10.7.0.128/25"), Gateway: netip.MustParseAddr("10.7.0.254"),
			Aux: map[string]netip.Addr{"router": netip.MustParseAddr("10.7.0.128")}}}})
	if !strings.HasPrefix(n.Spec.Pools[1].Subnet.String(), "fd") || n.Spec.Pools[1].Subnet.Bits() != 64 {
		t.Errorf("got IPv6 subnet %s", n.Spec.Pools[1].Subnet)
	}

	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "lan"}))
	has(t, "lan0", a.in(sb, "ip", "addr", "show", "lan0"), "10.7.0.129/24", "mtu 1400",
		n.Spec.Pools[1].Subnet.Addr().Next().Next().String())
	has(t, "the routes", a.in(sb, "ip", "route"), "default via 10.7.0.254 dev lan0")
	has(t, "the port", a.ns.Run("ip", "-d", "link", "show", sb.Endpoints[0].HostInterface), "isolated on",
		"master br-lan")
	if last := a.guard.Puts(); last[len(last)-1].GetMasquerade() || last[len(last)-1].GetIcc() {
		t.Errorf("got firewall request %v", last[len(last)-1])
	}
}

func TestInternalNetworkHasNoRoute(t *testing.T) {
	a := newHost(t).run()
	n := a.network(network.Draft{Name: "inside", Internal: true})
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "inside"}))
	if out := a.in(sb, "ip", "route", "show", "default"); out != "" {
		t.Errorf("got default route %s, want none", out)
	}
	if got := a.ns.Run("cat", "/proc/sys/net/ipv4/conf/"+n.Bridge().Device+"/route_localnet"); got != "0" {
		t.Errorf("got route_localnet %s, want 0", got)
	}
	if last := a.guard.Puts(); !last[len(last)-1].GetInternal() {
		t.Errorf("got firewall request %v", last[len(last)-1])
	}
}

func TestInvalidNetworksLeaveNoState(t *testing.T) {
	a := newHost(t).run()
	a.ns.Run("ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext1")
	a.network(withSubnet("n1", "10.1.0.0/16"))
	before := a.ns.Run("ip", "-o", "link")
	bridge := func(key, value string) network.Draft {
		return network.Draft{Name: "n2", Options: map[string]string{key: value}}
	}

	for name, c := range map[string]struct {
		want network.Draft
		kind fault.Kind
		text string
	}{
		"existing name": {network.Draft{Name: "n1"}, fault.Exists, "network with name n1 already exists"},
		"part of a used subnet": {withSubnet("n2", "10.1.3.0/24"), fault.Exists,
			"Pool overlaps with other one on this address space"},
		"around a used subnet": {withSubnet("n2", "10.0.0.0/8"), fault.Exists, "of network n1"},
		"subnet of docker0":    {withSubnet("n2", "172.17.9.0/24"), fault.Exists, "of network bridge"},
		"bridge of docker0": {bridge(network.OptBridgeName, "docker0"), fault.Exists,
			"networks have same bridge name"},
		"not a bridge": {bridge(network.OptBridgeName, "ext0"), fault.Invalid,
			"existing interface ext0 is not a bridge"},
		"subnet without hosts": {withSubnet("n2", "10.2.0.0/32"), 0, ""},
		"no free subnet": {withSubnet("n2", "0.0.0.0/8"), fault.Exhausted,
			"all predefined address pools have been fully subnetted"},
	} {
		n, err := a.networks.Create(context.Background(), c.want)
		if c.kind == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if _, err := a.networks.Delete(context.Background(), n.ID); err != nil {
				t.Error(err)
			}
			continue
		}
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := a.ns.Run("ip", "-o", "link"); len(strings.Split(after, "\n")) != len(strings.Split(before, "\n")) {
		t.Errorf("links: want\n%s\ngot\n%s", before, after)
	}
	if len(a.networks.List()) != 4 {
		t.Errorf("got networks %v", a.networks.List())
	}
}

func TestNetworkWithoutFirewallIsNotCreated(t *testing.T) {
	a := newHost(t).run()
	a.guard.SetDown(true)
	if _, err := a.networks.Create(context.Background(), network.Draft{Name: "n1"}); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("create without natagent: got %v, want Unavailable", err)
	}
	if out := a.ns.Run("ip", "-o", "link"); strings.Contains(out, "br-") {
		t.Errorf("got bridge %s, want none", out)
	}
	if len(a.networks.List()) != 3 {
		t.Errorf("got networks %v", a.networks.List())
	}

	a.guard.SetDown(false)
	a.newNetwork("n1")
}

func TestCreateNetworkIsIdempotent(t *testing.T) {
	a := newHost(t).run()
	want := network.Draft{ID: id.New(), Name: "n1", Labels: map[string]string{"a": "b"}}
	first, again := a.network(want), a.network(want)
	if first.ID != want.ID || again.Spec.Pools[0].Subnet != first.Spec.Pools[0].Subnet {
		t.Errorf("got %+v, then %+v", first, again)
	}
	want.Labels = nil
	if _, err := a.networks.Create(context.Background(), want); !fault.Is(err, fault.Exists) {
		t.Errorf("different content: got %v, want Exists", err)
	}
}

func TestNetworkInUseIsNotDeleted(t *testing.T) {
	a := newHost(t).run()
	n := a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	_, err := a.networks.Delete(context.Background(), "n1")
	if want := fmt.Sprintf(`network n1 has active endpoints (name:"web" id:%q)`, sb.Owner[:12]); !fault.Is(err,
		fault.Busy) || !strings.Contains(err.Error(), want) {
		t.Errorf("delete in use: got %v", err)
	}

	a.release(sb)
	if got, err := a.networks.Delete(context.Background(), n.ID[:12]); err != nil || got != n.ID {
		t.Fatalf("delete: got %s, %v", got, err)
	}
	if out, err := a.ns.Try("ip", "link", "show", n.Bridge().Device); err == nil {
		t.Errorf("got bridge %s, want none", out)
	}
	if gone := a.guard.Deleted(); len(gone) != 1 || gone[0] != n.ID {
		t.Errorf("got firewall deletions %v, want 1", gone)
	}

	for ref, kind := range map[string]fault.Kind{"n1": fault.NotFound, "bridge": fault.Denied, "host": fault.Denied,
		"none": fault.Denied} {
		if _, err := a.networks.Delete(context.Background(), ref); !fault.Is(err, kind) {
			t.Errorf("delete %s: got %v", ref, err)
		}
	}
	if got := a.newNetwork("n2").Spec.Pools[0].Subnet; got != n.Spec.Pools[0].Subnet {
		t.Errorf("the subnet is not reused: got %s", got)
	}
}

func TestDeletionResumesAfterNatagentFailure(t *testing.T) {
	a := newHost(t).run()
	n := a.newNetwork("n1")
	a.guard.SetDown(true)
	if _, err := a.networks.Delete(context.Background(), "n1"); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("delete without natagent: got %v, want Unavailable", err)
	}
	if _, err := a.sandboxes.Create(context.Background(), requestOn(id.New(),
		endpoint.Spec{Network: "n1"})); !fault.Is(err, fault.NotFound) {
		t.Errorf("create on a deleted network: got %v, want NotFound", err)
	}

	a.guard.SetDown(false)
	a.stop()
	b := a.host.run()
	b.eventually("the network is deleted", func() bool {
		_, ok := b.store.Network(n.ID)
		return !ok
	})
	if gone := b.guard.Deleted(); len(gone) != 1 {
		t.Errorf("got firewall deletions %v, want 1", gone)
	}
}

func TestAdoptedBridgeSurvivesDeletion(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "mine", "type", "bridge")
	a := h.run()
	want := withSubnet("n1", "10.3.0.0/24")
	want.Options = map[string]string{network.OptBridgeName: "mine"}
	a.network(want)
	has(t, "the bridge", a.ns.Run("ip", "addr", "show", "mine"), "10.3.0.1/24")
	if _, err := a.networks.Delete(context.Background(), "n1"); err != nil {
		t.Fatal(err)
	}
	if out := a.ns.Run("ip", "-4", "addr", "show", "mine"); strings.Contains(out, "10.3.0.1") {
		t.Errorf("the address is still assigned: %s", out)
	}
}

func TestNetworksSurviveRestartAndReboot(t *testing.T) {
	h := newHost(t)
	a := h.run()
	n := a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	a.stop()
	b := h.run()
	b.mustReach(sb.NetnsPath, "172.18.0.1")
	b.release(sb)
	b.stop()
	h.ns.Run("ip", "link", "del", n.Bridge().Device)
	c := h.run()
	has(t, "the bridge", c.ns.Run("ip", "addr", "show", n.Bridge().Device), "172.18.0.1/26")
	sb = c.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	c.mustReach(sb.NetnsPath, "172.18.0.1")
}
