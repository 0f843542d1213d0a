package explain_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	rules "github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// host has one publication, a host firewall that blocks all ports, and rules without names.
type host struct{ p publication.Publication }

func (h host) State() firewall.State {
	bindings := make([]port.Binding, 0, len(h.p.Bindings))
	for _, b := range h.p.Bindings {
		b.OwnerName = "" // as the firewall has them
		bindings = append(bindings, b)
	}
	return firewall.State{Bindings: bindings, Networks: []firewall.Network{{ID: "n", Bridge: "br0", ICC: true,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/24")}}}}
}

func (h host) Publications() []*publication.Publication { return []*publication.Publication{&h.p} }

// Decide has an ingress policy of the container that refuses 192.0.2.7.
func (h host) Decide(_ string, from netip.Addr, to netip.AddrPort, _ func(netip.Addr) bool) []egress.Decision {
	d := egress.Decision{Container: "web", Incoming: true, Decision: rules.Decision{Allowed: true, Rule: "all"}}
	if to.Addr() != netip.MustParseAddr("10.7.0.2") {
		return nil
	}
	if from == netip.MustParseAddr("192.0.2.7") {
		d.Decision = rules.Decision{Rule: "!192.0.2.7", Reason: rules.ReasonRule}
	}
	return []egress.Decision{d}
}

func (host) Rule(packettrace.Location) string { return "" }

func (host) Blocked(context.Context, port.Protocol, netip.AddrPort, netip.Addr) (hostfirewall.Block, bool) {
	return hostfirewall.Block{Family: "ip", Table: "filter", Chain: "INPUT"}, true
}

func web() host {
	return host{publication.Publication{OwnerName: "web", Bindings: []port.Binding{{Protocol: port.TCP,
		HostIP: netip.IPv4Unspecified(), Host: port.Single(8080), ContainerIP: netip.MustParseAddr("10.7.0.2"),
		Container: port.Single(80)}}}}
}

func TestExplainNamesContainerAndHostFirewall(t *testing.T) {
	h := web()
	e := explain.New(hostns.At(0), h, h, h, h)
	loopback := netip.MustParseAddr("127.0.0.1")

	for _, row := range []struct {
		name    string
		p       packettrace.Packet
		binding bool
		foreign int
	}{
		{"from outside", packettrace.Packet{Protocol: port.TCP, Source: netip.MustParseAddr("192.0.2.1"),
			Target: netip.AddrPortFrom(loopback, 8080)}, false, 0},
		{"from the host", packettrace.Packet{Protocol: port.TCP, Target: netip.AddrPortFrom(loopback, 8080)}, true, 0},
		{"another port", packettrace.Packet{Protocol: port.TCP, Target: netip.AddrPortFrom(loopback, 8081)}, false, 0},
	} {
		v, foreign, err := e.Explain(context.Background(), row.p)
		if err != nil || (v.Binding != nil) != row.binding || len(foreign) != row.foreign {
			t.Errorf("%s: got %+v, %v, %v", row.name, v, foreign, err)
		}
		if v.Binding != nil && v.Binding.OwnerName != "web" {
			t.Errorf("%s: got container %q, want web", row.name, v.Binding.OwnerName)
		}
	}
}

func TestExplainReportsBlockedPorts(t *testing.T) {
	h := web()
	p := packettrace.Packet{Protocol: port.TCP, Source: netip.MustParseAddr("10.7.0.3"), Interface: "br0",
		Target: netip.MustParseAddrPort("0.0.0.0:8080")}
	_, foreign, err := explain.New(hostns.At(0), h, h, h, h).Explain(context.Background(), p)
	if err != nil || len(foreign) != 1 || !strings.HasSuffix(foreign[0], "; published ports bypass it") {
		t.Errorf("got %q, %v", foreign, err)
	}
}

// The policies of both ends decide after the firewall, about the destination after DNAT.
func TestExplainNamesRuleOfPolicy(t *testing.T) {
	h := web()
	e := explain.New(hostns.At(0), h, h, h, h)
	for source, want := range map[string]string{
		"192.0.2.7": "false ingress policy of container web: refused by rule !192.0.2.7",
		"192.0.2.8": "true ingress policy of container web: accepted by rule all"} {
		p := packettrace.Packet{Protocol: port.TCP, Source: netip.MustParseAddr(source), Interface: "eth0",
			Target: netip.MustParseAddrPort("0.0.0.0:8080")}
		v, _, err := e.Explain(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		last := v.Steps[len(v.Steps)-1]
		if got := fmt.Sprint(v.Reached, " ", last.Text); got != want ||
			e.Rule(last.Place) != "table inet fairlead-egress" {
			t.Errorf("%s: got %q (%s), want %q", source, got, e.Rule(last.Place), want)
		}
		p.WithoutPolicies = true
		if v, _, err := e.Explain(context.Background(), p); err != nil || !v.Reached {
			t.Errorf("%s, without policies: got %+v, %v", source, v, err)
		}
	}
}
