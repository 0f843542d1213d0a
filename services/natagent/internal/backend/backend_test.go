package backend_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/backend"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
)

func open(t *testing.T, n *testns.NS, name string) *backend.Backend {
	t.Helper()
	b, err := backend.Open(context.Background(), hostns.At(n.Fd()),
		backend.Config{Name: name, Events: nfevents.New(hostns.At(n.Fd())), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUnknownBackendRejected(t *testing.T) {
	_, err := backend.Open(context.Background(), hostns.At(0), backend.Config{Name: "pf",
		Log: slog.New(slog.DiscardHandler)})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `unknown firewall backend "pf"`) ||
		!strings.Contains(err.Error(), "auto, nftables or iptables") {
		t.Errorf("got %v", err)
	}
}

func TestRulesNameTheirBackend(t *testing.T) {
	n := testns.New(t)
	for name, want := range map[string]string{"": "table inet fairlead", backend.NFTables: "table inet fairlead",
		backend.IPTables: "iptables"} {
		b := open(t, n, name)
		seen := map[string]bool{}
		for _, at := range []packettrace.Location{packettrace.Loopback, packettrace.Published, packettrace.ToBridge,
			packettrace.FromBridge} {
			if rule := b.Rule(at); !strings.HasPrefix(rule, want) || seen[rule] {
				t.Errorf("%s: got rule %q, want another one with %s", b.Name(), rule, want)
			}
			seen[b.Rule(at)] = true
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if flavored := b.Flavour() != ""; flavored != strings.HasPrefix(b.Name(), backend.IPTables) {
			t.Errorf("got name %s and flavor %q", b.Name(), b.Flavour())
		}
	}
}

// TestOthersRemovedAfterSync: the rules of the former backend stay until the new ones are written.
func TestOthersRemovedAfterSync(t *testing.T) {
	n, ctx := testns.New(t), context.Background()
	hasIPTables := func() bool { return strings.Contains(n.Run("iptables-save"), "FAIRLEAD") }
	former := open(t, n, backend.IPTables)
	_, err := former.Sync(ctx, firewall.State{})
	if err := errors.Join(err, former.Close()); err != nil {
		t.Fatal(err)
	}

	b := open(t, n, backend.NFTables)
	if b.RemoveOthers(ctx); !hasIPTables() {
		t.Error("iptables rules removed before nftables rules are written")
	}
	if _, err := b.Sync(ctx, firewall.State{}); err != nil {
		t.Fatal(err)
	}
	if b.RemoveOthers(ctx); hasIPTables() {
		t.Error("iptables rules are left")
	}
	if err := errors.Join(b.Close(), backend.Clean(ctx, hostns.At(n.Fd()))); err != nil {
		t.Error(err)
	}
}
