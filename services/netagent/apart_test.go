package netagent

import (
	"context"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// unsupported is the probe result of a kernel without isolated bridge ports.
func unsupported() error { return kernel.ErrUnsupported }

func TestIsolatedNetworkNeedsKernelSupport(t *testing.T) {
	h := newHost(t)
	h.cfg.checkIsolation = unsupported
	a := h.run()
	before, puts := a.ns.Run("ip", "-o", "link"), len(a.guard.Puts())
	apart := map[string]string{network.OptICC: "false"}
	_, err := a.networks.Create(context.Background(), network.Draft{Name: "apart", Options: apart})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("create: got %v, want Unavailable", err)
	}

	has(t, "the error", err.Error(),
		"network apart: its containers cannot be isolated: the kernel does not have it; use Linux 4.18 or later")
	a.network(network.Draft{Name: "config", ConfigOnly: true, Options: apart})
	_, err = a.networks.Create(context.Background(), network.Draft{Name: "from", ConfigFrom: "config"})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("create with config-only options: got %v, want Unavailable", err)
	}

	var left []string
	for _, n := range a.networks.List() {
		left = append(left, n.Name)
	}
	if now := a.ns.Run("ip", "-o", "link"); !slices.Equal(left, []string{"bridge", "config", "host", "none"}) ||
		now != before || len(a.guard.Puts()) != puts {
		t.Errorf("got networks %v and links\n%s", left, now)
	}

	a.newNetwork("together") // without isolation
}

func TestIsolatedDefaultNetworkNeedsKernelSupport(t *testing.T) {
	h := newHost(t)
	h.cfg.checkIsolation, h.cfg.Isolated = unsupported, true
	_, err := New(context.Background(), h.cfg)
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("New: got %v, want Unavailable", err)
	}

	has(t, "the error", err.Error(), "network bridge: its containers cannot be isolated: the kernel does not have it")
	for name, change := range map[string]func(*Config){
		"no default network": func(c *Config) { c.NoBridge = true },
		"no isolation":       func(c *Config) { c.Isolated = false },
		"kernel support":     func(c *Config) { c.checkIsolation = nil },
	} {
		cfg := h.cfg
		change(&cfg)
		s, err := New(context.Background(), cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
