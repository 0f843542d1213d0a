package kernel_test

import (
	"net"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// TestShapeBothEnds checks the queueing disciplines of a veth pair: new, unchanged, changed, removed.
func TestShapeBothEnds(t *testing.T) {
	ns, h := host(t)
	ns.Run("ip", "link", "add", "br0", "type", "bridge")
	bridge, ok, err := h.Link("br0")
	if err != nil || !ok {
		t.Fatal(err)
	}
	if err := kernel.NewNamespace(func(inner *kernel.Namespace) error {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
		if err := h.AddVeth(kernel.Veth{Name: "veth0", Peer: "eth0", PeerMAC: mac, MTU: 1500, Bridge: bridge.Index},
			inner); err != nil {
			return err
		}
		for _, c := range []struct {
			in, out uint64
			text    string // of the host end
			changed bool
		}{
			{0, 0, "", false},
			{8_000_000, 16_000, "rate 8Mbit", true},
			{8_000_000, 16_000, "rate 8Mbit", false},
			{10_000_000_000, 1_234_568, "rate 10Gbit", true},
			{0, 0, "", true},
		} {
			in, err := h.Shape("veth0", c.in)
			if err != nil {
				return err
			}
			out, err := inner.Shape("eth0", c.out)
			if err != nil {
				return err
			}
			if in != c.changed || out != c.changed {
				t.Errorf("%d, %d: changed %v and %v, want %v", c.in, c.out, in, out, c.changed)
			}
			text := ns.Run("tc", "qdisc", "show", "dev", "veth0")
			if !strings.Contains(text, c.text) || strings.Contains(text, "tbf") != (c.in != 0) {
				t.Errorf("%d in: got %s, want %s", c.in, text, c.text)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Shape("missing", 16_000); err == nil {
		t.Error("no error for a missing link")
	}
}
