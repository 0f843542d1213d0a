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
