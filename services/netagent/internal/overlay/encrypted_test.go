package overlay

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

var secret = strings.Repeat("e", 64)

// seeEncrypted sends a view with the network of the tests and an encrypted one.
func (h *host) seeEncrypted() {
	hidden := &fleetv1.OverlayNetwork{Id: secret, Name: "secret", Mtu: 1440, Encrypted: true,
		Pools: []*fleetv1.OverlayPool{{Subnet: "10.128.1.0/24", Gateway: "10.128.1.1"}}}
	blocks := append(owns(two, "10.128.0.64/28"), owns(two, "10.128.1.64/28")...)
	blocks[1].NetworkId = secret
	key := &fleetv1.TunnelKey{Generation: 3, PublicKey: make([]byte, 32), Port: 51821}
	h.send(&fleetv1.WatchOverlayResponse{Reset_: true, Self: self(one), Blocks: blocks,
		Networks: []*fleetv1.OverlayNetwork{overlay(), hidden}, Hosts: []*fleetv1.OverlayHost{
			{Id: one, Address: "10.99.0.1"}, {Id: two, Address: "10.99.0.2", TunnelKeys: []*fleetv1.TunnelKey{key,
				{Generation: 4, Port: 1}, {Generation: 3, PublicKey: make([]byte, 32), Port: 7}}}}})
}

// requires sets a network up.
func (h *host) requires(t *testing.T, id string) error {
	t.Helper()
	n, ok := h.store.Network(id)
	if !ok {
		t.Fatalf("network %s not stored", id)
	}
	return h.control.Require(t.Context(), n)
}

func TestEncryptedNetworkHasNoOtherTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.seeEncrypted()
		h.take()
		if err := h.requires(t, secret); err != nil {
			t.Fatal(err)
		}
		h.expect(t, "mark; up; rules; notunnel", hostCalls...)
		v := h.secret.seen
		if !v.Needed || v.MTU != 1440 || len(v.Hosts) != 1 || v.Hosts[0].Address.String() != "10.99.0.2" ||
			!slices.Equal(v.Hosts[0].Blocks, prefixes("10.128.1.64/28")) || !slices.Equal(v.Hosts[0].Keys,
			[]tunnelkey.Public{{Generation: 3, Port: 51821}}) {
			t.Errorf("encryption: got %+v", v)
		}
		if r := h.rules.sent; len(r.GetEncryptedDevices()) != 2 || len(r.GetPeers()) != 0 ||
			r.GetEncryptedDevices()[0].GetMtu() != 1440 {
			t.Errorf("rules: got %v", r)
		}

		h.setUp(t) // the other network
		h.expect(t, "mark; up; tunnel", "mark", "up", "tunnel")
		if r := h.rules.sent; len(r.GetPeers()) != 1 || !slices.Equal(r.GetPeers()[0].GetBlocks(),
			[]string{"10.128.0.64/28"}) || !slices.Equal(h.tunnelTo, prefixes("10.128.0.64/28")) {
			t.Errorf("VXLAN: got %v, routes %v", r, h.tunnelTo)
		}
	})
}

func TestMissingEncryptionAffectsNoOtherNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.seeEncrypted()
		h.fail("encrypt", away)
		if err := h.requires(t, secret); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		h.setUp(t)
		if err := h.requires(t, secret); !fault.Is(err, fault.Unavailable) {
			t.Errorf("second attempt: got %v", err)
		}
		h.fail("encrypt", nil)
		if err := h.requires(t, secret); err != nil {
			t.Errorf("encryption works: %v", err)
		}
	})
}

func TestKeysPublishedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.seeEncrypted()
		h.take()
		h.secret.keys = []tunnelkey.Public{{Generation: 3}}
		h.control.Changed()
		later()
		h.expect(t, "publish key3", "publish")
		if err := h.requires(t, secret); err != nil {
			t.Fatal(err)
		}
		h.secret.keys = append(h.secret.keys, tunnelkey.Public{Generation: 4})
		h.seeEncrypted()
		h.expect(t, "publish key3 key4", "publish")
	})
}
