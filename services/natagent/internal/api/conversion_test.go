package api

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
)

func fullNetwork() *natv1.FirewallNetwork {
	return &natv1.FirewallNetwork{Id: "id", Bridge: "br0", Masquerade: true, Icc: true, Internal: true, Tunnel: true,
		Encrypted:          true,
		Subnets:            []string{"10.0.0.0/24", "10.1.0.0/24", "fd00::/64"},
		UnprotectedSubnets: []string{"10.0.0.0/24"}, RoutedSubnets: []string{"fd00::/64"},
		TrustedInterfaces: []string{"eth1"}, SnatIpv4: "192.0.2.1", SnatIpv6: "2001:db8::1"}
}

func TestNetworkRoundTrip(t *testing.T) {
	in := fullNetwork()
	slices.Reverse(in.Subnets)
	n, err := networkFromProto(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := networksToProto([]*firewall.Network{n}); len(got) != 1 || !proto.Equal(got[0], fullNetwork()) {
		t.Errorf("got %v, want %v", got, fullNetwork())
	}
}

func TestInvalidNetworksRejected(t *testing.T) {
	for field, spoil := range map[string]func(*natv1.FirewallNetwork){
		"subnets":             func(n *natv1.FirewallNetwork) { n.Subnets = []string{"10.0.0.0"} },
		"unprotected_subnets": func(n *natv1.FirewallNetwork) { n.UnprotectedSubnets = []string{"10.9.0.0/24"} },
		"routed_subnets":      func(n *natv1.FirewallNetwork) { n.RoutedSubnets = []string{"fd00::/56"} },
		"snat_ipv4":           func(n *natv1.FirewallNetwork) { n.SnatIpv4 = "2001:db8::1" },
		"snat_ipv6":           func(n *natv1.FirewallNetwork) { n.SnatIpv6 = "fe80::1%eth0" },
	} {
		n := fullNetwork()
		spoil(n)
		_, err := networkFromProto(n)
		if f := new(fault.Fault); !errors.As(err, &f) || f.Kind != fault.Invalid || f.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	n := fullNetwork()
	n.Subnets, n.UnprotectedSubnets = append(n.Subnets, "::ffff:10.2.0.0/112"), nil
	if _, err := networkFromProto(n); !fault.Is(err, fault.Invalid) {
		t.Errorf("IPv4 in IPv6: got %v", err)
	}
}

func TestTunnelConversion(t *testing.T) {
	if got, err := tunnelFromProto(nil); got != nil || err != nil {
		t.Errorf("no tunnel: got %v, %v", got, err)
	}
	got, err := tunnelFromProto(&natv1.FirewallTunnel{Device: "fl-fleet", Vni: 7, Port: 4789, Mtu: 1450,
		EncryptedDevices: []*natv1.FirewallDevice{{Name: "fl-wg0", Mtu: 1440}},
		Peers: []*natv1.FirewallPeer{{Address: "192.0.2.9"},
			{Address: "192.0.2.2", Blocks: []string{"10.0.1.0/26", "10.0.0.0/26"}}}})
	if err != nil || !slices.Equal(got.Encrypted, []firewall.Device{{Name: "fl-wg0", MTU: 1440}}) ||
		got.Device != "fl-fleet" || got.VNI != 7 || got.Port != 4789 || got.MTU != 1450 ||
		len(got.Peers) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	blocks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/26"), netip.MustParsePrefix("10.0.1.0/26")}
	if p := got.Peers[0]; p.Address.String() != "192.0.2.2" || !slices.Equal(p.Blocks, blocks) {
		t.Errorf("peers must be sorted: got %+v", got.Peers)
	}

	peer := func(address string, blocks ...string) *natv1.FirewallTunnel {
		return &natv1.FirewallTunnel{Port: 1, Peers: []*natv1.FirewallPeer{{Address: address, Blocks: blocks}}}
	}
	for name, bad := range map[string]*natv1.FirewallTunnel{"no port": {}, "port": {Port: 1 << 16},
		"address": peer("x"), "mapped": peer("::ffff:192.0.2.2"), "zone": peer("fe80::1%eth0"),
		"block": peer("192.0.2.2", "10.0.0.0"), "mapped block": peer("192.0.2.2", "::ffff:10.0.0.0/120")} {
		if _, err := tunnelFromProto(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestContainerAddressesValidated(t *testing.T) {
	for _, bad := range []string{"x", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"} {
		for field, req := range map[string]*natv1.PublishRequest{"ipv4_address": {Ipv4Address: bad},
			"ipv6_address": {Ipv6Address: bad}} {
			_, err := publicationFromProto(req)
			if f := new(fault.Fault); !errors.As(err, &f) || f.Field != field {
				t.Errorf("%s %s: got %v", field, bad, err)
			}
		}
	}
	p, err := publicationFromProto(&natv1.PublishRequest{Owner: "id", OwnerName: "web", Ipv4Address: "10.0.0.2"})
	if err != nil || p.Owner != "id" || p.OwnerName != "web" || p.IPv4.String() != "10.0.0.2" || p.IPv6.IsValid() {
		t.Errorf("got %+v, %v", p, err)
	}
}

// publications is a fake of Publications that records drained addresses.
type publications struct {
	Publications
	drained []netip.Addr
	timeout time.Duration
}

func (p *publications) DrainConnections(_ context.Context, a []netip.Addr, timeout time.Duration) (int, error) {
	p.drained, p.timeout = a, timeout
	return 7, nil
}

func TestDrainConnectionsValidates(t *testing.T) {
	p := &publications{}
	s := &publicationServer{publications: p}
	for _, bad := range []*natv1.DrainConnectionsRequest{{Addresses: []string{"::"}}, {Addresses: []string{"x"}},
		{Addresses: []string{"10.0.0.2"}, TimeoutMs: 60_001}} {
		if _, err := s.DrainConnections(t.Context(), bad); !fault.Is(err, fault.Invalid) || p.drained != nil {
			t.Errorf("%v: got %v, drained %v", bad, err, p.drained)
		}
	}
	resp, err := s.DrainConnections(t.Context(), &natv1.DrainConnectionsRequest{TimeoutMs: 60_000,
		Addresses: []string{"::ffff:10.0.0.2"}})
	if err != nil || resp.GetOpenConnections() != 7 || p.timeout != time.Minute ||
		!slices.Equal(p.drained, []netip.Addr{netip.MustParseAddr("10.0.0.2")}) {
		t.Errorf("got %v, %v, drained %v in %s", resp, err, p.drained, p.timeout)
	}
}

// explainer is a fake of Explainer.
type explainer struct{ packet packettrace.Packet }

func (e *explainer) Explain(_ context.Context, p packettrace.Packet) (packettrace.Verdict, []string, error) {
	e.packet = p
	return packettrace.Verdict{Reached: true, Binding: &port.Binding{Protocol: port.TCP, OwnerName: "web",
		HostIP: netip.MustParseAddr("0.0.0.0"), ContainerIP: netip.MustParseAddr("10.0.0.2")},
		Steps: []packettrace.Step{{Place: packettrace.Published, Text: "to web"}}}, []string{"ufw"}, nil
}

func (e *explainer) Rule(at packettrace.Location) string {
	return map[packettrace.Location]string{packettrace.Published: "inet fairlead dnat"}[at]
}

func (e *explainer) BlockedPorts(_ context.Context, to netip.Addr, ports []explain.Port) ([]explain.Blocked, error) {
	return []explain.Blocked{{Port: ports[1], From: netip.PrefixFrom(to, 24).Masked(),
		By: hostfirewall.Block{Family: "ip", Table: "filter", Chain: "INPUT", Policy: true}}}, nil
}

func TestListBlockedPorts(t *testing.T) {
	s := &firewallServer{closed: &explainer{}}
	tcp, udp := natv1.Protocol_PROTOCOL_TCP, natv1.Protocol_PROTOCOL_UDP
	req := func(address string, ports ...*natv1.HostPort) *natv1.ListBlockedPortsRequest {
		return &natv1.ListBlockedPortsRequest{Address: address, Ports: ports}
	}
	for _, bad := range []*natv1.ListBlockedPortsRequest{req("x"), req("fe80::1%eth0"), req(""),
		req("192.0.2.1", &natv1.HostPort{Protocol: tcp}), req("192.0.2.1", &natv1.HostPort{Port: 80}),
		req("192.0.2.1", &natv1.HostPort{Protocol: tcp, Port: 1 << 16})} {
		if _, err := s.ListBlockedPorts(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got error %v", bad, err)
		}
	}

	resp, err := s.ListBlockedPorts(t.Context(), req("::ffff:192.0.2.1", &natv1.HostPort{Protocol: tcp, Port: 80},
		&natv1.HostPort{Protocol: udp, Port: 4789}))
	want := "closed to hosts of 192.0.2.0/24, blocked in the host firewall by the policy of ip filter INPUT"
	if err != nil || len(resp.GetPorts()) != 1 || resp.GetPorts()[0].GetReason() != want ||
		resp.GetPorts()[0].GetPort().GetProtocol() != udp || resp.GetPorts()[0].GetPort().GetPort() != 4789 {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestExplainConnection(t *testing.T) {
	e := &explainer{}
	s := &publicationServer{explainer: e}
	req := func(source, destination string, port uint32) *natv1.ExplainConnectionRequest {
		return &natv1.ExplainConnectionRequest{Source: source, Destination: destination, Port: port,
			Protocol: natv1.Protocol_PROTOCOL_TCP}
	}
	for field, bad := range map[string]*natv1.ExplainConnectionRequest{"destination": req("", "x", 80),
		"port": req("", "192.0.2.1", 65536), "source": req("2001:db8::1", "192.0.2.1", 80),
		"protocol": {Destination: "192.0.2.1", Port: 80, Protocol: 99}} {
		_, err := s.ExplainConnection(t.Context(), bad)
		if f := new(fault.Fault); !errors.As(err, &f) || f.Field != field || e.packet.Target.IsValid() {
			t.Errorf("%s: got %v", field, err)
		}
	}

	resp, err := s.ExplainConnection(t.Context(), req("::ffff:198.51.100.1", "192.0.2.1", 80))
	if err != nil || !resp.GetAllowed() || resp.GetContainer() != "web" || len(resp.GetSteps()) != 1 ||
		resp.GetSteps()[0].GetRule() != "inet fairlead dnat" || !slices.Equal(resp.GetForeignRules(), []string{"ufw"}) {
		t.Errorf("got %v, %v", resp, err)
	}
	if e.packet.Source.String() != "198.51.100.1" || e.packet.Target.String() != "192.0.2.1:80" {
		t.Errorf("got packet %+v", e.packet)
	}
}
