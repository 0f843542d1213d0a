package netagent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/networks"
)

func TestPruneDeletesUnusedNetworks(t *testing.T) {
	a := newHost(t).run()
	for name, labels := range map[string]map[string]string{"kept": {"keep": "1"}, "n2": nil, "n1": nil} {
		a.network(network.Draft{Name: name, Labels: labels})
	}

	a.create(requestOn(id.New(), endpoint.Spec{Network: "n2"}))
	l, err := a.events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone, err := a.networks.Prune(context.Background(), network.Filter{Without: []string{"keep"}})
	if err != nil || !slices.Equal(gone, []string{"n1"}) {
		t.Errorf("got pruned %v, %v, want n1", gone, err)
	}

	var left []string
	for _, n := range a.networks.List() {
		left = append(left, n.Name)
	}
	if !slices.Equal(left, []string{"bridge", "host", "kept", "n2", "none"}) {
		t.Errorf("got networks %v", left)
	}
	if got := emittedEvents(t, l); !slices.Equal(got, []string{"destroy n1", "prune 0"}) {
		t.Errorf("got events %v", got)
	}
}

// emittedEvents returns the events that a subscription has received.
func emittedEvents(t *testing.T, l *events.Subscription) (out []string) {
	t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := l.Next(ended)
		if errors.Is(err, context.Canceled) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Action+" "+e.Attributes["name"]+e.Attributes["reclaimed"])
	}
}

func TestResumedDeletionEmitsOneEvent(t *testing.T) {
	a := newHost(t).run()
	a.network(network.Draft{Name: "n1"})
	l, err := a.events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a.guard.Deleting = func() {
		a.guard.Deleting = nil
		ctx, cancel := context.WithCancel(context.Background())
		var ended sync.WaitGroup
		ended.Go(func() { networks.Finisher{Manager: a.networks}.Run(ctx) })
		a.eventually("the controller has deleted the network", func() bool {
			_, err := a.store.FindAnyNetwork("n1")
			return err != nil
		})
		cancel()
		ended.Wait()
	}
	if _, err := a.networks.Delete(context.Background(), "n1"); err != nil {
		t.Fatal(err)
	}
	if got := emittedEvents(t, l); !slices.Equal(got, []string{"destroy n1"}) {
		t.Errorf("got events %v", got)
	}
}
