package nfevents_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// timeout bounds each wait for an event.
const timeout = time.Minute

// subscribe returns the transactions of a source, and a function that ends the subscription.
func subscribe(t *testing.T, s *nfevents.Source) (events <-chan nfevents.Transaction, cancel func()) {
	t.Helper()
	all := make(chan nfevents.Transaction, 10000)
	cancel, err := s.Subscribe(func(t nfevents.Transaction) { all <- t })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return all, cancel
}

func next(t *testing.T, events <-chan nfevents.Transaction) nfevents.Transaction {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(timeout):
		t.Fatal("no event")
		return nfevents.Transaction{}
	}
}

func TestChangesOfOtherProgramsAreReported(t *testing.T) {
	n := testns.New(t)
	source := nfevents.New(hostns.At(n.Fd()))
	first, cancel := subscribe(t, source)
	second, _ := subscribe(t, source)

	const inet = unix.NFPROTO_INET
	table := nfevents.Change{Kind: nfevents.Table, Family: inet, Table: "mine"}
	set := nfevents.Change{Kind: nfevents.Set, Family: inet, Table: "mine"}
	elements := nfevents.Change{Kind: nfevents.Elements, Family: inet, Table: "mine"}
	chain := nfevents.Change{Kind: nfevents.Chain, Family: inet, Table: "mine", Chain: "c", Base: true,
		Hook: unix.NF_INET_LOCAL_IN}
	rule := nfevents.Change{Kind: nfevents.Rule, Family: inet, Table: "mine", Chain: "c"}
	counter := nfevents.Change{Kind: nfevents.Other, Family: inet, Table: "mine"}
	var generation uint32
	for _, row := range []struct {
		script string
		want   []nfevents.Change
	}{
		{"table inet mine { set s { type ipv4_addr; }; }", []nfevents.Change{table, set}},
		{"add chain inet mine c { type filter hook input priority 0; }", []nfevents.Change{chain}},
		{"add rule inet mine c drop; add rule inet mine c accept", []nfevents.Change{rule}},
		{"add element inet mine s { 10.0.0.1, 10.0.0.2 }", []nfevents.Change{elements}},
		{"add counter inet mine n", []nfevents.Change{counter}},
		{"flush chain inet mine c; delete element inet mine s { 10.0.0.1 }", []nfevents.Change{rule, elements}},
		{"delete table inet mine", []nfevents.Change{table}},
	} {
		n.Run("nft", row.script)
		got := next(t, first)
		if other := next(t, second); fmt.Sprint(other) != fmt.Sprint(got) {
			t.Errorf("%q: got %+v, the other subscriber %+v", row.script, got, other)
		}
		if got.Lost || got.Process != "nft" || got.PID == 0 || got.Port == 0 ||
			generation != 0 && got.Generation != generation+1 {
			t.Errorf("%q: got %+v after generation %d", row.script, got, generation)
		}
		generation = got.Generation
		for _, want := range row.want {
			if !slices.Contains(got.Changes, want) {
				t.Errorf("%q: got %+v, want %+v", row.script, got.Changes, want)
			}
		}
	}

	cancel()
	n.Run("nft", "add table inet more")
	next(t, second)
	if len(first) > 0 {
		t.Errorf("got %d events after the end", len(first))
	}
}
