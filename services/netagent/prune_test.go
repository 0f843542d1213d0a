package netagent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/network"
)

func TestWhatNobodyIsOnIsPrunedAndTheRestStays(t *testing.T) {
	a := newHost(t).run()
	for name, labels := range map[string]map[string]string{"kept": {"keep": "1"}, "n2": nil, "n1": nil} {
		a.network(network.Wanted{Name: name, Labels: labels})
	}
	a.create(on(id.New(), network.EndpointSpec{Network: "n2"}))
	l := a.networks.Events.Listen(time.Time{})
	defer l.Close()
	gone, err := a.networks.Prune(context.Background(), network.Selection{Without: []string{"keep"}})
	if err != nil || !slices.Equal(gone, []string{"n1"}) {
		t.Errorf("pruned %v, %v", gone, err)
	}
	var left, told []string
	for _, n := range a.networks.List() {
		left = append(left, n.Name)
	}
	if !slices.Equal(left, []string{"bridge", "host", "kept", "n2", "none"}) {
		t.Errorf("left: %v", left)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var e events.Event
	for e, err = l.Next(ended); err == nil; e, err = l.Next(ended) {
		told = append(told, e.Action+" "+e.Attributes["name"]+e.Attributes["reclaimed"])
	}
	if !errors.Is(err, context.Canceled) || !slices.Equal(told, []string{"destroy n1", "prune 0"}) {
		t.Errorf("told %v, %v", told, err)
	}
}
