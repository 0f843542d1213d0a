package iptables

import (
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// counted is a stamp whose transactions are made by hand.
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
		t.Errorf("changed is %v, by %v; want %v", changed, by, other)
	}
	if _, changed := w.take(); changed {
		t.Error("it is told of twice")
	}
}

func TestModifierAmongOwnChangesIsDetected(t *testing.T) {
	c := &counted{}
	w := &watcher{stamp: c}
	w.take()

	end := w.beginChange()
	w.wrote(1)
	c.transactions, c.by = 1, firewall.Modifier{Name: "iptables-nft-re", PID: 8} // ours
	end()
	if _, changed := w.take(); changed {
		t.Error("our own change is taken for somebody else's")
	}

	end = w.beginChange()
	w.wrote(1)
	c.transactions = 3
	end()
	if by, changed := w.take(); !changed || by != (firewall.Modifier{}) {
		t.Errorf("changed is %v, by %v; want it changed by somebody unknown", changed, by)
	}
}
