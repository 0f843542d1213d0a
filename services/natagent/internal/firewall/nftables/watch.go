package nftables

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
)

// Watch implements firewall.Firewall.
func (b *Backend) Watch(ctx context.Context) (<-chan firewall.Modifier, error) {
	out := make(chan firewall.Modifier, 1)
	cancel, err := b.events.Subscribe(func(t nfevents.Transaction) {
		if t.Port == b.pid || !t.Lost && !b.isExternal(t) {
			return
		}
		select {
		case out <- firewall.Modifier{Name: t.Process, PID: t.PID}: // of lost transactions, it is unknown
		default: // a signal is pending already
		}
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be watched")
	}

	context.AfterFunc(ctx, cancel)
	return out, nil
}

// isExternal reports whether a transaction may have changed our table. Other programs cannot change the elements of an
// owned one. The elements of the port guard change with each launch, by another agent service.
func (b *Backend) isExternal(t nfevents.Transaction) bool {
	affected := slices.ContainsFunc(t.Changes, func(c nfevents.Change) bool {
		switch c.Kind {
		case nfevents.Table, nfevents.Chain, nfevents.Rule:
			return c.Table == TableName
		}
		return c.Table == TableName && b.flags&nftables.TableFlagOwner == 0
	})
	return affected && !elementsOfAgent(t)
}

// elementsOfAgent reports whether this process or another agent service changed elements only.
func elementsOfAgent(t nfevents.Transaction) bool {
	if slices.ContainsFunc(t.Changes, func(c nfevents.Change) bool { return c.Kind != nfevents.Elements }) {
		return false
	}
	self, err := os.ReadFile("/proc/self/comm")
	return err == nil && t.Process == strings.TrimSpace(string(self))
}
