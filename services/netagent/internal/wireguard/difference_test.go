package wireguard

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

var now = time.Unix(1_800_000_000, 0)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// device returns the desired device of the tests, with peers 1 and 2.
func device() Device {
	return Device{Name: "wg", Private: tunnelkey.Key{9}, Port: 51820, Peers: []Peer{
		{Key: tunnelkey.Key{1}, Endpoint: netip.MustParseAddrPort("10.99.0.1:51820"),
			Allowed: prefixes("10.128.1.0/24")},
		{Key: tunnelkey.Key{2}, Endpoint: netip.MustParseAddrPort("[fd99::2]:51820"),
			Allowed: prefixes("10.128.2.0/24", "fd80::/122")}}}
}

// actual returns the state of the kernel that corresponds to it.
func actual() *wgtypes.Device {
	out := &wgtypes.Device{Name: "wg", PrivateKey: wgtypes.Key{9}, ListenPort: 51820}
	for _, p := range device().Peers {
		peer := wgtypes.Peer{PublicKey: wgtypes.Key(p.Key), Endpoint: net.UDPAddrFromAddrPort(p.Endpoint),
			PersistentKeepaliveInterval: keepalive}
		for _, a := range p.Allowed {
			peer.AllowedIPs = append(peer.AllowedIPs, net.IPNet{IP: a.Addr().AsSlice(),
				Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())})
		}
		out.Peers = append(out.Peers, peer)
	}
	return out
}

func TestOnlyDifferencesAreApplied(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*wgtypes.Device, *Device)
		want  string // the changes
		peers int    // in the first step
	}{
		"nothing": {func(*wgtypes.Device, *Device) {}, "", 0},
		"key":     {func(h *wgtypes.Device, _ *Device) { h.PrivateKey = wgtypes.Key{} }, "wg key", 0},
		"port":    {func(h *wgtypes.Device, _ *Device) { h.ListenPort = 1 }, "wg port 51820", 0},
		"new peer": {func(h *wgtypes.Device, _ *Device) { h.Peers = h.Peers[1:] },
			"wg peer 10.99.0.1 added keepalive endpoint 10.128.1.0/24", 1},
		"surplus peer stays": {func(_ *wgtypes.Device, w *Device) { w.Peers = w.Peers[1:] }, "", 0},
		"new block": {func(_ *wgtypes.Device, w *Device) {
			w.Peers[0].Allowed = append(w.Peers[0].Allowed, prefixes("10.128.9.0/28")...)
		}, "wg peer 10.99.0.1 10.128.9.0/28", 1},
		"removed block": {func(_ *wgtypes.Device, w *Device) { w.Peers[1].Allowed = w.Peers[1].Allowed[:1] },
			"wg removed 1 blocks", 1},
		"moved block": {func(_ *wgtypes.Device, w *Device) {
			w.Peers[0].Allowed = append(w.Peers[0].Allowed, prefixes("fd80::/122")...)
			w.Peers[1].Allowed = w.Peers[1].Allowed[:1]
		}, "wg peer 10.99.0.1 fd80::/122", 1},
		"address without a session": {func(h *wgtypes.Device, _ *Device) {
			h.Peers[0].Endpoint = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
			h.Peers[0].LastHandshakeTime = now.Add(-SessionLife - time.Second)
		}, "wg peer 10.99.0.1 endpoint", 1},
		"address of a session, behind NAT": {func(h *wgtypes.Device, _ *Device) {
			h.Peers[0].Endpoint = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
			h.Peers[0].LastHandshakeTime = now.Add(-SessionLife + time.Second)
		}, "", 0},
		"mapped address": {func(h *wgtypes.Device, _ *Device) {
			h.Peers[0].Endpoint.IP = h.Peers[0].Endpoint.IP.To16()
		}, "", 0},
	} {
		have, want := actual(), device()
		c.spoil(have, &want)
		first, second, changes := difference(have, want, now)
		if got := strings.Join(changes, "; "); got != c.want || len(first.Peers) != c.peers || first.ReplacePeers {
			t.Errorf("%s: got %q with %d peers, want %q", name, got, len(first.Peers), c.want)
		}
		if (second != nil) != (name == "removed block") {
			t.Errorf("%s: second step %v", name, second)
		}
		for _, p := range first.Peers {
			if p.ReplaceAllowedIPs || p.Remove {
				t.Errorf("%s: packets of a peer are dropped: %+v", name, p)
			}
		}
	}
}

func TestRemovedBlockMovesToTemporaryPeer(t *testing.T) {
	want := device()
	want.Peers[1].Allowed = want.Peers[1].Allowed[:1]
	first, second, _ := difference(actual(), want, now)
	temporary := first.Peers[0]
	if len(temporary.AllowedIPs) != 1 || temporary.AllowedIPs[0].String() != "fd80::/122" ||
		slices.ContainsFunc(want.Peers, func(p Peer) bool { return wgtypes.Key(p.Key) == temporary.PublicKey }) ||
		len(second.Peers) != 1 || !second.Peers[0].Remove || second.Peers[0].PublicKey != temporary.PublicKey {
		t.Errorf("got %+v, then %+v", first, second)
	}
}

func TestSurplusPeersRemoved(t *testing.T) {
	c, changes := surplus(actual(), []tunnelkey.Key{{2}, {3}})
	if len(c.Peers) != 1 || c.Peers[0].PublicKey != (wgtypes.Key{1}) || !c.Peers[0].Remove ||
		!slices.Equal(changes, []string{"wg peer 10.99.0.1 removed"}) {
		t.Errorf("got %+v, %v", c, changes)
	}
	if c, changes := surplus(actual(), []tunnelkey.Key{{1}, {2}}); len(c.Peers)+len(changes) > 0 {
		t.Errorf("got %+v, %v", c, changes)
	}
}
