package overlay

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestSpaceWarnings checks which networks are in the address space of a fleet.
func TestSpaceWarnings(t *testing.T) {
	space := []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9"), netip.MustParsePrefix("fd12::/48")}
	for _, c := range []struct {
		driver, subnet, want string
	}{
		{network.DriverBridge, "10.1.0.0/24", ""},
		{network.DriverBridge, "10.130.0.0/24",
			"subnet 10.130.0.0/24 of network n overlaps the fleet's address space 10.128.0.0/9"},
		{network.DriverBridge, "10.0.0.0/8", "subnet 10.0.0.0/8"},
		{network.DriverBridge, "fd12:0:0:1::/64", "address space fd12::/48"},
		{network.DriverMacvlan, "10.130.0.0/24", ""}, // that of the LAN
	} {
		n := network.Network{Name: "n", Driver: c.driver, Spec: network.Spec{Pools: []network.Pool{
			{Subnet: netip.MustParsePrefix(c.subnet)}}}}
		got := strings.Join(spaceWarnings(n, space), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.subnet, got, c.want)
		}
	}
	if got := spaceWarnings(network.Network{Driver: network.DriverOverlay, Scope: network.Global}, space); got != nil {
		t.Errorf("network of the fleet: got %q", got)
	}
}
