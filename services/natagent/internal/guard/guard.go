// Package guard is what natagent does for networks: it masquerades, and keeps apart what shall be apart. Like package publish
// it only puts other rooms together.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Store remembers networks.
type Store interface {
	Network(id string) (*firewall.Network, bool)
	Networks() []*firewall.Network
	PutNetwork(n *firewall.Network) error
	DeleteNetwork(id string) error
}

// Firewall has a network's elements.
type Firewall interface {
	ReplaceNetwork(ctx context.Context, old, now *firewall.Network) error
}

// Gate lets one change happen at a time, and mends the firewall from the store.
type Gate interface {
	Lock(ctx context.Context) (end func(), err error)
	Repair(ctx context.Context) error
}

// ForwardPolicy asks other firewalls of the host to let bridges' traffic through. They are looked at once for all bridges.
type ForwardPolicy interface {
	Allow(ctx context.Context, bridges ...string) error
	Forget(ctx context.Context, bridges ...string) error
}

// Rules guards networks.
type Rules struct {
	store    Store
	firewall Firewall
	gate     Gate
	others   ForwardPolicy
	log      *slog.Logger

	policyMu sync.Mutex // one asks others at a time, so that what is forgotten is not allowed again
}

// New makes a guard.
func New(store Store, fw Firewall, gate Gate, others ForwardPolicy, log *slog.Logger) *Rules {
	return &Rules{store: store, firewall: fw, gate: gate, others: others, log: log}
}

// List answers all guarded networks, by id.
func (g *Rules) List(context.Context) ([]*firewall.Network, error) { return g.store.Networks(), nil }

// Put makes a network be guarded as given.
func (g *Rules) Put(ctx context.Context, n *firewall.Network) error {
	if err := validate(n); err != nil {
		return err
	}
	end, err := g.gate.Lock(ctx)
	if err != nil {
		return err
	}
	old, err := g.put(ctx, n)
	end()
	if err != nil {
		return err
	}
	if old != nil && old.Bridge != n.Bridge {
		g.forget(ctx, old.Bridge)
	}
	g.allow(ctx, n.ID)
	return nil
}

// allow asks other firewalls to let a network's bridge through, if it is still there.
func (g *Rules) allow(ctx context.Context, network string) {
	g.policyMu.Lock()
	defer g.policyMu.Unlock()
	if n, ok := g.store.Network(network); ok {
		g.warn(g.others.Allow(ctx, n.Bridge), n.Bridge)
	}
}

func (g *Rules) forget(ctx context.Context, bridge string) {
	g.policyMu.Lock()
	defer g.policyMu.Unlock()
	g.warn(g.others.Forget(ctx, bridge), bridge)
}

func (g *Rules) put(ctx context.Context, n *firewall.Network) (*firewall.Network, error) {
	old, _ := g.store.Network(n.ID)
	if old != nil && reflect.DeepEqual(old, n) {
		return old, nil
	}
	if err := g.clash(n); err != nil {
		return nil, err
	}
	if err := g.store.PutNetwork(n); err != nil {
		return nil, err
	}
	if err := g.replace(ctx, old, n); err != nil {
		if old == nil {
			return nil, errors.Join(err, g.store.DeleteNetwork(n.ID))
		}
		return nil, errors.Join(err, g.store.PutNetwork(old))
	}
	return old, nil
}

// Delete takes a network out. No error if it is not there.
func (g *Rules) Delete(ctx context.Context, network string) error {
	if !id.Valid(network) {
		return fault.Invalidf("network", "id", "id %q is not one of %d hexadecimal digits", network, id.Len)
	}
	end, err := g.gate.Lock(ctx)
	if err != nil {
		return err
	}
	old, err := g.remove(ctx, network)
	end()
	if err != nil || old == nil {
		return err
	}
	g.forget(ctx, old.Bridge)
	return nil
}

func (g *Rules) remove(ctx context.Context, network string) (*firewall.Network, error) {
	old, ok := g.store.Network(network)
	if !ok {
		return nil, nil
	}
	if err := g.store.DeleteNetwork(network); err != nil {
		return nil, err
	}
	if err := g.replace(context.WithoutCancel(ctx), old, nil); err != nil {
		return nil, errors.Join(err, g.store.PutNetwork(old))
	}
	return old, nil
}

func (g *Rules) replace(ctx context.Context, old, now *firewall.Network) error {
	err := g.firewall.ReplaceNetwork(ctx, old, now)
	if err == nil || ctx.Err() != nil {
		return err
	}
	g.log.Warn("firewall is not as it should be; reconciling", "error", err)
	return g.gate.Repair(ctx)
}

// AllowAll asks other firewalls again for all networks, as they may have been restarted.
func (g *Rules) AllowAll(ctx context.Context) error {
	g.policyMu.Lock()
	defer g.policyMu.Unlock()
	if all := g.bridges(); len(all) > 0 {
		g.warn(g.others.Allow(ctx, all...), strings.Join(all, " "))
	}
	return nil
}

func (g *Rules) bridges() (all []string) {
	for _, n := range g.store.Networks() {
		all = append(all, n.Bridge)
	}
	return all
}

// RevokeAll takes the bridges of all networks out of other firewalls.
func (g *Rules) RevokeAll(ctx context.Context) error {
	all := g.bridges()
	if len(all) == 0 {
		return nil
	}
	return g.others.Forget(ctx, all...)
}

// warn logs that another firewall was not dealt with. The network works but for it, and may do so all the same.
func (g *Rules) warn(err error, bridge string) {
	if err != nil {
		g.log.Warn("another firewall of this host may drop the network's traffic", "bridge", bridge, "error", err)
	}
}

func subject(n *firewall.Network) string { return "network " + id.Short(n.ID) }

func validate(n *firewall.Network) error {
	if !id.Valid(n.ID) {
		return fault.Invalidf("network", "id", "id %q is not one of %d hexadecimal digits", n.ID, id.Len)
	}
	const longest = 15 // IFNAMSIZ less the zero at its end
	if n.Bridge == "" || len(n.Bridge) > longest || n.Bridge == "." || n.Bridge == ".." ||
		strings.ContainsFunc(n.Bridge, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r > '~' }) {
		return fault.Invalidf(subject(n), "bridge", "%q is no device's name", n.Bridge)
	}
	for i, p := range n.Subnets {
		if !p.IsValid() || p != p.Masked() || p.Bits() == 0 {
			return fault.Invalidf(subject(n), "subnets", "invalid subnet %s: it should be %s", p, p.Masked())
		}
		if j := overlapping(p, n.Subnets[:i]); j >= 0 {
			return fault.Invalidf(subject(n), "subnets", "subnets %s and %s overlap", n.Subnets[j], p)
		}
	}
	return nil
}

// clash looks for another network that wants the same bridge or addresses.
func (g *Rules) clash(n *firewall.Network) error {
	for _, o := range g.store.Networks() {
		if o.ID == n.ID {
			continue
		}
		if o.Bridge == n.Bridge {
			return fault.New(fault.Exists, subject(n), fmt.Sprintf("bridge %s is %s's", n.Bridge, subject(o)))
		}
		for _, p := range n.Subnets {
			if j := overlapping(p, o.Subnets); j >= 0 {
				return fault.New(fault.Exists, subject(n), fmt.Sprintf("subnet %s overlaps %s of %s", p, o.Subnets[j], subject(o)))
			}
		}
	}
	return nil
}

// overlapping finds the first of some prefixes that overlaps p, or answers -1.
func overlapping(p netip.Prefix, some []netip.Prefix) int {
	for i, o := range some {
		if p.Overlaps(o) {
			return i
		}
	}
	return -1
}
