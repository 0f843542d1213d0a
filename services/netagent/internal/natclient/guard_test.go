package natclient_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/api/natagenttest"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// fixture returns a client with a store that holds the default bridge.
func fixture(t *testing.T) (*natclient.Client, *natagenttest.Firewall, *store.Store) {
	t.Helper()

	db, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = db.Close() })
	n := network.BridgeSettings{}.WithDefaults().Predefined()[0]
	n.ID = id.New()
	if err := db.PutNetworks(store.Network{Network: n}); err != nil {
		t.Fatal(err)
	}

	nat := &natagenttest.Firewall{}
	return natclient.New(nat, db, slog.New(slog.DiscardHandler)), nat, db
}

func bridge(t *testing.T, db *store.Store) store.Network {
	t.Helper()
	n, ok := db.NetworkNamed("bridge")
	if !ok {
		t.Fatal("got no stored bridge")
	}
	return n
}

func TestChangedNetworkAppliedAgain(t *testing.T) {
	g, nat, db := fixture(t)
	if err := g.Apply(context.Background(), bridge(t, db).Network); err != nil {
		t.Fatal(err)
	}

	n := bridge(t, db)
	n.Spec.Pools = []network.Pool{{Subnet: netip.MustParsePrefix("10.0.0.0/24")}}
	if natclient.IsApplied(n) {
		t.Fatal("got another subnet acknowledged")
	}

	if err := g.Apply(context.Background(), n.Network); err != nil {
		t.Fatal(err)
	}

	if got := nat.Puts()[1].GetSubnets(); len(got) != 1 || got[0] != "10.0.0.0/24" {
		t.Errorf("got subnets %v", got)
	}
}

func TestUnavailableNatagentNamed(t *testing.T) {
	g, nat, db := fixture(t)
	nat.SetDown(true)
	err := g.Apply(context.Background(), bridge(t, db).Network)
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, natagenttest.ErrDown) ||
		!strings.Contains(err.Error(), "natagent") {
		t.Errorf("got %v", err)
	}
	if natclient.IsApplied(bridge(t, db)) {
		t.Error("got the network acknowledged")
	}
}

func TestNetworkWithoutBridgeNeedsNoFirewall(t *testing.T) {
	n := store.Network{Network: network.Network{Driver: network.DriverHost}}
	if natclient.NeedsFirewall(n.Network) || !natclient.IsApplied(n) {
		t.Error("got a network without a bridge that needs rules")
	}
}

// applyWithRetry applies a network as at the start of the agent.
func applyWithRetry(ctx context.Context, g *natclient.Client, n network.Network) error {
	return g.Retry(ctx, n, func() error { return g.Apply(ctx, n) })
}

func TestApplyWithRetryStops(t *testing.T) {
	g, nat, db := fixture(t)
	nat.SetDown(true)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()

	if err := applyWithRetry(ctx, g, bridge(t, db).Network); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("context expired: got %v", err)
	}

	done := make(chan error, 1)
	go func() { done <- applyWithRetry(context.Background(), g, bridge(t, db).Network) }()
	nat.SetDown(false)

	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("got no end of retries although natagent responds")
	}
}

func TestRulesOfLostNetworkReplaced(t *testing.T) {
	g, nat, db := fixture(t)
	n, other := bridge(t, db), &natv1.FirewallNetwork{Id: id.New(), Bridge: "br-other"}
	nat.Lost = []*natv1.FirewallNetwork{{Id: id.New(), Bridge: n.Bridge().Device}, other}
	lost := nat.Lost[0].GetId()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()

	if err := applyWithRetry(ctx, g, n.Network); err != nil {
		t.Fatal(err)
	}

	if got := nat.Deleted(); len(got) != 1 || got[0] != lost {
		t.Errorf("got %v deleted, want only %s", got, lost)
	}
}
