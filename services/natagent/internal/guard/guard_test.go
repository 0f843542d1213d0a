package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/guard"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// kernel implements Firewall, ChangeLock and ForwardPolicy, with configurable errors.
type kernel struct {
	bridges map[string]bool
	tunnel  *firewall.Tunnel
	allowed map[string]bool
	asked   int // number of Allow calls
	fail    error
	failing error
}

func (k *kernel) ReplaceNetwork(_ context.Context, old, now *firewall.Network) error {
	if k.fail != nil {
		return k.fail
	}
	if old != nil {
		delete(k.bridges, old.Bridge)
	}
	if now != nil {
		k.bridges[now.Bridge] = true
	}
	return nil
}

func (k *kernel) ReplaceTunnel(_ context.Context, _, now *firewall.Tunnel) error {
	if k.fail == nil {
		k.tunnel = now
	}
	return k.fail
}

func (k *kernel) Lock(context.Context) (func(), error) { return func() {}, nil }
func (k *kernel) Repair(context.Context) error         { return k.fail }

func (k *kernel) Allow(_ context.Context, bridges ...string) error {
	k.asked++
	for _, b := range bridges {
		k.allowed[b] = true
	}
	return k.failing
}

func (k *kernel) Forget(_ context.Context, bridges ...string) error {
	for _, b := range bridges {
		delete(k.allowed, b)
	}
	return k.failing
}

func setUp(t *testing.T) (*guard.Rules, *kernel, *store.Store) {
	t.Helper()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	k := &kernel{bridges: map[string]bool{}, allowed: map[string]bool{}}
	return guard.New(st, k, k, k, slog.New(slog.DiscardHandler)), k, st
}

func network(bridge string) *firewall.Network {
	return &firewall.Network{ID: fmt.Sprintf("%064x", 1), Bridge: bridge,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
}

func TestFirewallErrorKeepsStore(t *testing.T) {
	g, k, st := setUp(t)
	ctx := context.Background()
	k.fail = errors.New("boom")
	if err := g.Put(ctx, network("brA")); !errors.Is(err, k.fail) || len(st.Networks()) != 0 {
		t.Errorf("Put: %v, stored %v", err, st.Networks())
	}

	k.fail = nil
	if err := g.Put(ctx, network("brA")); err != nil {
		t.Fatal(err)
	}

	k.fail = errors.New("boom")
	if err := g.Put(ctx, network("brB")); err == nil || st.Networks()[0].Bridge != "brA" {
		t.Errorf("second Put: %v, stored %v", err, st.Networks()[0])
	}
	if err := g.Delete(ctx, network("").ID); err == nil || len(st.Networks()) != 1 {
		t.Errorf("Delete: %v, stored %v", err, st.Networks())
	}

	k.fail = nil
	if err := g.Delete(ctx, network("").ID); err != nil || len(st.Networks()) != 0 || len(k.bridges) != 0 {
		t.Errorf("final Delete: %v, stored %v, bridges %v", err, st.Networks(), k.bridges)
	}
}

func TestForwardPolicyErrorsAreLogged(t *testing.T) {
	g, k, _ := setUp(t)
	ctx := context.Background()
	k.failing = errors.New("no iptables here")
	for _, bridge := range []string{"brA", "brB"} { // the network's bridge changes
		if err := g.Put(ctx, network(bridge)); err != nil {
			t.Error(err)
		}
		if !k.allowed[bridge] || len(k.allowed) != 1 || !k.bridges[bridge] || len(k.bridges) != 1 {
			t.Errorf("allowed %v, bridges %v; want %s only", k.allowed, k.bridges, bridge)
		}
	}

	if err := g.Delete(ctx, network("").ID); err != nil || len(k.allowed) != 0 {
		t.Errorf("Delete: %v, allowed %v", err, k.allowed)
	}
}

func TestAllowAllCallsOnce(t *testing.T) {
	g, k, _ := setUp(t)
	ctx := context.Background()
	if err := g.AllowAll(ctx); err != nil || k.asked != 0 {
		t.Errorf("without networks: asked %d times, %v", k.asked, err)
	}

	const many = 50
	for i := range many {
		n := &firewall.Network{ID: fmt.Sprintf("%064x", i+1), Bridge: fmt.Sprintf("br%d", i)}
		if err := g.Put(ctx, n); err != nil {
			t.Fatal(err)
		}
	}

	k.asked, k.allowed = 0, map[string]bool{}
	if err := g.AllowAll(ctx); err != nil || k.asked != 1 || len(k.allowed) != many {
		t.Errorf("asked %d times for %d bridges, %v", k.asked, len(k.allowed), err)
	}
}

func TestPutTunnel(t *testing.T) {
	g, k, st := setUp(t)
	ctx := context.Background()
	tunnel := func(block string) *firewall.Tunnel {
		return &firewall.Tunnel{Device: "fltun0", VNI: 7, Port: 4789, MTU: 1450, Peers: []firewall.Peer{
			{Address: netip.MustParseAddr("10.99.0.2"), Blocks: []netip.Prefix{netip.MustParsePrefix("10.128.0.64/26"),
				netip.MustParsePrefix(block)}}}}
	}

	first := tunnel("10.128.0.128/26")
	if err := g.PutTunnel(ctx, first); err != nil || k.tunnel != first || st.State().Tunnel == nil {
		t.Fatalf("got %v, %+v", err, k.tunnel)
	}
	for name, bad := range map[string]*firewall.Tunnel{
		"overlap": tunnel("10.128.0.96/27"), "host bits": tunnel("10.128.0.129/26"), "everything": tunnel("0.0.0.0/0"),
		"device": {Device: "a b", VNI: 7}, "vni 0": {Device: "fltun0"}, "vni": {Device: "fltun0", VNI: 1 << 24},
		"encrypted device": {Device: "fltun0", VNI: 7, Encrypted: []firewall.Device{{Name: "fltun0"}}},
		"same host": {Device: "fltun0", VNI: 7,
			Peers: []firewall.Peer{first.Peers[0], {Address: first.Peers[0].Address}}},
	} {
		if err := g.PutTunnel(ctx, bad); err == nil || k.tunnel != first {
			t.Errorf("%s: got %v, %+v", name, err, k.tunnel)
		}
	}

	k.fail = errors.New("boom")
	if err := g.PutTunnel(ctx, tunnel("10.128.1.0/26")); err == nil || st.Tunnel().Peers[0].Blocks[1] !=
		first.Peers[0].Blocks[1] {
		t.Errorf("got %v, stored %+v", err, st.Tunnel())
	}
	k.fail = nil
	if err := g.PutTunnel(ctx, nil); err != nil || k.tunnel != nil || st.Tunnel() != nil {
		t.Errorf("removal: got %v, %+v", err, st.Tunnel())
	}
}
