package conntrack_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// TestDeleteAll checks both directions, with and without the kernel's own deletion: for IPv6 there is none.
func TestDeleteAll(t *testing.T) {
	for address, left := range map[string]string{
		"10.2.0.2": "10.1.0.1:54 [fd01::1]:53", // the target after DNAT
		"10.1.0.2": "[fd01::1]:53",
		"fd02::2":  "10.1.0.1:53 10.1.0.1:54 10.2.0.2:53",
		"10.2.0.9": "10.1.0.1:53 10.1.0.1:54 10.2.0.2:53 [fd01::1]:53",
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			client, host := world(t)
			send(t, client, "udp4", "10.1.0.1:53")
			send(t, client, "udp4", "10.1.0.1:54")
			send(t, client, "udp4", "10.2.0.2:53")
			send(t, client, "udp6", "[fd01::1]:53")
			if err := conntrack.New(hostns.At(host.Fd())).DeleteAll(t.Context(),
				[]netip.Addr{netip.MustParseAddr(address)}, true); err != nil {
				t.Fatal(err)
			}
			if got := flows(host); !same(got, left) {
				t.Errorf("entries left: got %s, want %s", got, left)
			}
		})
	}
}
