package iptables

import (
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// counted is a generation with a manual transaction count.
type counted struct {
	transactions uint64
	by           firewall.Modifier
}

func (c *counted) now() ([]uint64, error) { return []uint64{c.transactions}, nil }

func (c *counted) after(before []uint64, transactions int) []uint64 {
	return []uint64{before[0] + uint64(transactions)}
}

func (c *counted) who() firewall.Modifier { return c.by }

func (c *counted) close() error { return nil }

func (c *counted) news() <-chan struct{} { return nil }

func TestModifierDuringReadIsNamed(t *testing.T) {
	other := firewall.Modifier{Name: "iptables", PID: 7}
	c := &counted{}
	w := &watcher{stamp: c}
	w.take()

	end := w.beginChange()
	c.transactions, c.by = 1, other
	end()
	if by, changed := w.take(); !changed || by != other {
		t.Errorf("got changed %v by %v, want %v", changed, by, other)
	}
	if _, changed := w.take(); changed {
		t.Error("got a second signal")
	}
}

// sized is like counted, with the comparison of legacy iptables.
type sized struct{ counted }

func (s *sized) after(before []uint64, transactions int) []uint64 {
	return new(legacy).after(before, transactions)
}

func TestLegacyChangeDuringReadIsDetected(t *testing.T) {
	s := &sized{}
	w := &watcher{stamp: s}
	w.take()

	end := w.beginChange()
	s.transactions = 1
	end()
	if _, changed := w.take(); !changed {
		t.Error("a change during a read was not signalled")
	}

	end = w.beginChange()
	w.wrote(1)
	s.transactions = 2
	end()
	if _, changed := w.take(); changed {
		t.Error("our own change was signalled")
	}
}

func TestModifierAmongOwnChangesIsDetected(t *testing.T) {
	c := &counted{}
	w := &watcher{stamp: c}
	w.take()

	end := w.beginChange()
	w.wrote(1)
	c.transactions, c.by = 1, firewall.Modifier{Name: "iptables-nft-re", PID: 8} // our own
	end()
	if _, changed := w.take(); changed {
		t.Error("our own change was signalled")
	}

	end = w.beginChange()
	w.wrote(1)
	c.transactions = 3
	end()
	if by, changed := w.take(); !changed || by != (firewall.Modifier{}) {
		t.Errorf("got changed %v by %v, want an unknown modifier", changed, by)
	}
}
