// Package iptables is the firewall backend for hosts without nf_tables and for administrators who
// use iptables. It manages chains named FAIRLEAD-* in the tables raw, nat and filter, for IPv4 and
// IPv6.
//
// Each change is one iptables-restore --noflush per family. A published port is a rule with a
// comment that names the container and its port. Publishing takes milliseconds, and a new
// connection is matched against each rule: package nftables is faster.
//
// Users can add rules to FAIRLEAD-USER, which all forwarded packets traverse first. The backend
// creates it once, and neither flushes it nor deletes it while it has rules.
package iptables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const subject = "iptables"

// Backend manages the chains.
type Backend struct {
	flavour  string
	families []family
	watcher  *watcher

	mu       sync.Mutex                  // serializes changes
	networks map[string]firewall.Network // by ID, as written to the kernel; nil before the first Sync
	tunnel   *firewall.Tunnel
	bindings map[hostPort]port.Binding
}

// hostPort identifies a binding. It is unique.
type hostPort struct {
	proto port.Protocol
	at    string
}

func keyOf(b port.Binding) hostPort { return hostPort{b.Protocol, b.HostPort().String()} }

// Open returns a backend. It does not change the kernel before the first Sync. Watch uses events.
func Open(ns hostns.NS, events *nfevents.Source, f Features) (*Backend, error) {
	b := &Backend{flavour: f.Flavour, families: []family{newFamily(ns, f, false)}}
	if f.IPv6 {
		b.families = append(b.families, newFamily(ns, f, true))
	}
	var err error
	b.watcher, err = newWatcher(ns, events, f)
	return b, err
}

// Close closes the watcher's sockets. The chains stay.
func (b *Backend) Close() error { return b.watcher.close() }

// AddBindings implements firewall.Firewall.
func (b *Backend) AddBindings(ctx context.Context, bindings []port.Binding) error {
	return b.ReplaceBindings(ctx, nil, bindings)
}

// RemoveBindings implements firewall.Firewall.
func (b *Backend) RemoveBindings(ctx context.Context, bindings []port.Binding) error {
	return b.ReplaceBindings(ctx, bindings, nil)
}

// ReplaceBindings implements firewall.Firewall.
func (b *Backend) ReplaceBindings(ctx context.Context, gone, fresh []port.Binding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkSupported(ctx, fresh); err != nil {
		return err
	}

	leaving := map[hostPort]bool{}
	var known, added []port.Binding
	for _, bind := range gone {
		if have, ok := b.bindings[keyOf(bind)]; ok && have.Target() == bind.Target() {
			known = append(known, have) // with the name in its rule's comment
			leaving[keyOf(bind)] = true
		}
	}

	for _, bind := range fresh {
		switch have, ok := b.bindings[keyOf(bind)]; {
		case !ok || leaving[keyOf(bind)]:
			added = append(added, bind)
		case have.Target() != bind.Target() || have.Sources != bind.Sources:
			return fault.New(fault.Internal, bind.Subject(), "already forwarded to "+have.Target().String())
		}
	}

	if err := b.exchange(ctx, known, added); err != nil {
		return err
	}

	for _, bind := range known {
		delete(b.bindings, keyOf(bind))
	}

	for _, bind := range added {
		b.bindings[keyOf(bind)] = bind
	}

	return nil
}

// ReplaceNetwork implements firewall.Firewall.
func (b *Backend) ReplaceNetwork(ctx context.Context, old, now *firewall.Network) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkSupported(ctx, nil); err != nil {
		return err
	}

	next := make(map[string]firewall.Network, len(b.networks)+1)
	for id, n := range b.networks {
		next[id] = n
	}

	if old != nil {
		delete(next, old.ID)
	}
	if now != nil {
		next[now.ID] = *now
	}
	if err := b.checkIPv6(next); err != nil {
		return err
	}

	err := b.each(ctx, func(f family) (do, undo string) {
		return networkBatch(f, scope{sortedNetworks(next), b.tunnel}),
			networkBatch(f, scope{sortedNetworks(b.networks), b.tunnel})
	})

	if err == nil {
		b.networks = next
	}

	return err
}

// checkSupported rejects bindings of a missing family, and changes before the first Sync.
func (b *Backend) checkSupported(ctx context.Context, bindings []port.Binding) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.networks == nil {
		return fault.New(fault.Internal, subject, "change before the first sync")
	}

	for _, bind := range bindings {
		if bind.HostIP.Is6() && len(b.families) == 1 {
			return noIPv6(bind.Subject())
		}
	}

	return nil
}

// checkIPv6 rejects IPv6 networks if ip6tables is not available.
func (b *Backend) checkIPv6(networks map[string]firewall.Network) error {
	for _, n := range networks {
		for _, p := range n.Subnets {
			if p.Addr().Is6() && len(b.families) == 1 {
				return noIPv6("subnet " + p.String())
			}
		}
	}
	return nil
}

func noIPv6(subject string) error {
	return fault.New(fault.Unavailable, subject, "IPv6 is disabled on this host, ip6tables cannot filter it",
		fault.WithHint("use IPv4 only, or enable IPv6 in the kernel"))
}

// exchange removes the rules of gone and adds those of fresh.
func (b *Backend) exchange(ctx context.Context, gone, fresh []port.Binding) error {
	return b.each(ctx, func(f family) (string, string) {
		before := b.countAddressRules(f, slices.Concat(gone, fresh))
		after := before + narrowOf(f, fresh) - narrowOf(f, gone)
		return natBatch(f, gone, fresh, after) + directBatch(f, gone, fresh),
			natBatch(f, fresh, gone, before) + directBatch(f, fresh, gone)
	})
}

// countAddressRules counts the rules of ports on one address, which come before those of published
// addresses. It returns 0 if no binding needs the position.
func (b *Backend) countAddressRules(f family, some []port.Binding) (n int) {
	if !slices.ContainsFunc(some, port.Binding.IsAddress) {
		return 0
	}
	for _, bind := range b.bindings {
		if bind.HostIP.Is6() == f.v6 && priority(bind) == 0 && !bind.Direct() {
			n += len(dnatRules(bind))
		}
	}
	return n
}

func narrowOf(f family, bindings []port.Binding) (n int) {
	for _, bind := range translated(bindings) {
		if bind.HostIP.Is6() == f.v6 && priority(bind) == 0 {
			n += len(dnatRules(bind))
		}
	}
	return n
}

// each restores a text for each family. On error it undoes the previous families.
func (b *Backend) each(ctx context.Context, texts func(family) (do, undo string)) error {
	defer b.watcher.beginChange()()
	var undos []func() error
	for _, f := range b.families {
		do, undo := texts(f)
		if err := b.restore(ctx, f, do); err != nil {
			for _, u := range slices.Backward(undos) {
				err = errors.Join(err, u())
			}
			return err
		}
		undos = append(undos, func() error { return b.restore(ctx, f, undo) })
	}

	return nil
}

// restore restores a text and counts its transactions for the watcher.
func (b *Backend) restore(ctx context.Context, f family, text string) error {
	if text == "" {
		return nil
	}
	err := f.restore(ctx, text)
	if err == nil {
		b.watcher.wrote(strings.Count(text, "\nCOMMIT\n"))
	}
	return err
}

// natBatch returns the restore text that removes and adds bindings of a family. Published addresses
// are added last, after narrow rules of ports on one address.
func natBatch(f family, gone, fresh []port.Binding, narrow int) string {
	var text, addresses strings.Builder
	for _, bind := range translated(gone) {
		if bind.HostIP.Is6() == f.v6 {
			fmt.Fprintln(&text, removeRules(bind))
		}
	}

	for _, bind := range translated(fresh) {
		to := &text
		if bind.IsAddress() {
			to = &addresses
		}
		if bind.HostIP.Is6() == f.v6 {
			fmt.Fprintln(to, addRules(bind, narrow))
		}
	}

	if text.Len()+addresses.Len() == 0 {
		return ""
	}

	return "*nat\n" + text.String() + addresses.String() + "COMMIT\n"
}
