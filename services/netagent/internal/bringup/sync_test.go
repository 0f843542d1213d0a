package bringup_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/api/natagenttest"
	"github.com/fairlead/fairlead/services/netagent/internal/bringup"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/hostnet"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// world is a controller with a fake driver and a fake natagent.
type world struct {
	*bringup.Controller
	driver *drivertest.Fake
	nat    *natagenttest.Firewall
	store  *store.Store
	id     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = s.Close() })
	w := &world{driver: &drivertest.Fake{}, nat: &natagenttest.Firewall{}, store: s, id: id.New()}
	n, err := network.Draft{ID: w.id, Name: "n1"}.Build()
	if err == nil {
		err = s.AddNetwork(store.Network{Network: n})
	}
	if err != nil {
		t.Fatal(err)
	}

	log := slog.New(slog.DiscardHandler)
	w.Controller = bringup.New(bringup.Config{Store: s, Drivers: driver.Set{network.DriverBridge: w.driver},
		NatClient: natclient.New(w.nat, s, log), Locks: lock.NewChecked(), Log: log,
		Hostnet: hostnet.New(hostnet.Config{Store: s, NoForwarding: true, Log: log})})
	return w
}

func (w *world) network() store.Network {
	n, _ := w.store.Network(w.id)
	return n
}

// TestSyncGuardsBeforeHost applies a network only after natagent has acknowledged its rules.
func TestSyncGuardsBeforeHost(t *testing.T) {
	w := newWorld(t)
	w.nat.SetDown(true)
	if err := w.Require(context.Background(), w.network()); err == nil || len(w.driver.Calls()) > 0 {
		t.Errorf("without natagent: got %v", err)
	}

	w.nat.SetDown(false)
	for range 3 {
		if err := w.Require(context.Background(), w.network()); err != nil {
			t.Fatal(err)
		}
	}

	if calls := w.driver.Calls(); len(w.nat.Puts()) != 1 || !slices.Equal(calls, []string{"ensure n1 guarded=true"}) {
		t.Errorf("got %d calls of natagent and %v", len(w.nat.Puts()), calls)
	}

	if err := w.Sync(context.Background(), w.network().Network); err != nil || len(w.nat.Puts()) != 2 {
		t.Errorf("again: got %d calls of natagent, %v", len(w.nat.Puts()), err)
	}
}

// TestRemoveKeepsRulesOfFailedRemoval deletes the rules last.
func TestRemoveKeepsRulesOfFailedRemoval(t *testing.T) {
	w := newWorld(t)
	ctx, failure := context.Background(), errors.New("busy")
	if err := w.Sync(ctx, w.network().Network); err != nil {
		t.Fatal(err)
	}

	w.driver.Fail = func(string) error { return failure }
	if err := w.Remove(ctx, w.network().Network); !errors.Is(err, failure) || len(w.nat.Deleted()) > 0 {
		t.Errorf("got %v and deleted rules %v", err, w.nat.Deleted())
	}

	w.driver.Fail = nil
	if err := w.Remove(ctx, w.network().Network); err != nil || !slices.Equal(w.nat.Deleted(), []string{w.id}) {
		t.Errorf("got %v and deleted rules %v", err, w.nat.Deleted())
	}
}

// TestDeletionMeanwhileDeletesRules deletes a network while it is sent to natagent again, which may
// receive the deletion first.
func TestDeletionMeanwhileDeletesRules(t *testing.T) {
	w := newWorld(t)
	w.nat.Putting = func() {
		if _, err := w.store.DeleteNetwork(w.id); err != nil {
			t.Error(err)
		}
	}

	inForeground := func(f func()) { f() }
	if err := w.WaitForNatagent(context.Background(), inForeground); err != nil {
		t.Fatal(err)
	}

	if !slices.Equal(w.nat.Deleted(), []string{w.id}) {
		t.Errorf("got deleted rules %v, want those of %s", w.nat.Deleted(), w.id)
	}

	w.nat.Putting = nil
	puts := len(w.nat.Puts())
	if err := w.WaitForNatagent(context.Background(), inForeground); err != nil || len(w.nat.Puts()) != puts {
		t.Errorf("got %d networks sent again, %v", len(w.nat.Puts())-puts, err)
	}
}
