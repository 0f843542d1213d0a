package endpoint_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestHostEndNameAndMAC(t *testing.T) {
	const id = "1c0ffee234567890"
	if got := endpoint.HostInterface(id); got != "veth1c0ffee" {
		t.Errorf("got name %s", got)
	}
	if got := endpoint.HostMAC(id).String(); got != "fe:1c:0f:fe:e2:34" {
		t.Errorf("got MAC address %s", got)
	}
}

func TestAliasBelongsToOneNetwork(t *testing.T) {
	one, other, owner := id.New(), id.New(), id.New()
	alias := endpoint.Alias(one, owner)
	if alias != "fairlead:"+one[:12]+":"+owner[:12] || !endpoint.AliasIsOf(alias, one) ||
		endpoint.AliasIsOf(alias, other) || endpoint.AliasIsOf("", one) {
		t.Errorf("got alias %s", alias)
	}
}

// TestHostEndNamesProperty derives names and MAC addresses from IDs and recognizes them.
func TestHostEndNamesProperty(t *testing.T) {
	digits := rapid.StringMatching(`[0-9a-f]{64}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		name, mac := endpoint.HostInterface(a), endpoint.HostMAC(a)
		if !endpoint.IsHostEnd(name, mac) || !endpoint.IsHostInterface(name) || len(name) > 15 || mac[0]&1 != 0 {
			t.Fatalf("%s, %s is not recognized", name, mac)
		}
		if same := a[:7] == b[:7]; endpoint.IsHostEnd(name, endpoint.HostMAC(b)) != same {
			t.Fatalf("%s with the MAC address of %s: got %v", name, b, !same)
		}
		if alias := endpoint.Alias(a, b); !endpoint.AliasIsOf(alias, a) ||
			endpoint.AliasIsOf(alias, b) != (a[:12] == b[:12]) {
			t.Fatalf("alias %s of network %s", alias, a)
		}
		if bridge := network.DefaultBridge(a); len(bridge) != 15 || bridge != "br-"+a[:12] {
			t.Fatalf("got bridge %s", bridge)
		}
		if m := network.DHCPClientMAC(a, b); m[0] != 2 || len(m) != 6 ||
			!bytes.Equal(m, network.DHCPClientMAC(a, b)) || a != b && bytes.Equal(m, network.DHCPClientMAC(b, a)) {
			t.Fatalf("got DHCP client %s", m)
		}
	})
	if mac := endpoint.HostMAC("not hexadecimal"); mac != nil {
		t.Errorf("got %s for an invalid ID", mac)
	}
	for _, name := range []string{"eth0", "veth", "veth123456", "veth12345678", "vEth1234567"} {
		if endpoint.IsHostEnd(name, endpoint.HostMAC(strings.Repeat("1", 64))) || endpoint.IsHostInterface(name) {
			t.Errorf("%s is recognized", name)
		}
	}
}

func TestFreeInterfaceFillsGaps(t *testing.T) {
	sb := endpoint.Sandbox{Endpoints: []endpoint.Endpoint{{Interface: "eth0"}, {Interface: "eth2"},
		{Interface: "lan0"}}}
	for prefix, want := range map[string]string{"": "eth1", "eth": "eth1", "lan": "lan1", "wan": "wan0"} {
		if got := endpoint.FreeInterface(prefix, sb.Interfaces()); got != want {
			t.Errorf("%q: got %s, want %s", prefix, got, want)
		}
	}
}
