// Package guard creates and deletes the firewall rules of networks: masquerade, SNAT and isolation.
// Package api calls it.
//
// It combines store and firewall, and does not use the kernel itself.
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

// Store holds the networks.
type Store interface {
	Network(id string) (*firewall.Network, bool)
	Networks() []*firewall.Network
	PutNetwork(n *firewall.Network) error
	DeleteNetwork(id string) error
	Tunnel() *firewall.Tunnel
	PutTunnel(t *firewall.Tunnel) error
}

// Firewall holds the rules of networks.
type Firewall interface {
	ReplaceNetwork(ctx context.Context, old, now *firewall.Network) error
	ReplaceTunnel(ctx context.Context, old, now *firewall.Tunnel) error
}

// ChangeLock serializes changes and reconciles the firewall with the store.
type ChangeLock interface {
	Lock(ctx context.Context) (end func(), err error)
	Repair(ctx context.Context) error
}

// ForwardPolicy makes other firewalls of the host accept the bridges' traffic. Each call inspects
// them once for all bridges.
type ForwardPolicy interface {
	Allow(ctx context.Context, bridges ...string) error
	Forget(ctx context.Context, bridges ...string) error
}

// Rules manages the firewall rules of networks. It is safe for concurrent use.
type Rules struct {
	store    Store
	firewall Firewall
	lock     ChangeLock
	others   ForwardPolicy
	log      *slog.Logger

	policyMu sync.Mutex // serializes the calls below, so that a revoked bridge is not allowed again
}

// New returns a Rules.
func New(store Store, fw Firewall, lock ChangeLock, others ForwardPolicy, log *slog.Logger) *Rules {
	return &Rules{store: store, firewall: fw, lock: lock, others: others, log: log}
}

// List returns all networks, sorted by ID.
func (g *Rules) List(context.Context) ([]*firewall.Network, error) { return g.store.Networks(), nil }

// Put creates or updates the rules of a network.
func (g *Rules) Put(ctx context.Context, n *firewall.Network) error {
	if err := validate(n); err != nil {
		return err
	}

	end, err := g.lock.Lock(ctx)
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

// allow makes other firewalls accept a network's bridge, if the network still exists.
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

// Delete deletes the rules of a network. It does nothing if the network does not exist.
func (g *Rules) Delete(ctx context.Context, network string) error {
	if !id.Valid(network) {
		return fault.Invalidf("network", "id", "%q is not a network ID of %d hexadecimal digits", network, id.Len)
	}

	end, err := g.lock.Lock(ctx)
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
	return g.repaired(ctx, g.firewall.ReplaceNetwork(ctx, old, now))
}

// repaired reconciles the firewall with the store after a change that failed.
func (g *Rules) repaired(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	g.log.Warn("firewall out of sync, reconciling", "error", err)
	return g.lock.Repair(ctx)
}

// AllowAll makes other firewalls accept the bridges of all networks, for example after their
// restart.
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

// RevokeAll removes the bridges of all networks from other firewalls.
func (g *Rules) RevokeAll(ctx context.Context) error {
	all := g.bridges()
	if len(all) == 0 {
		return nil
	}
	return g.others.Forget(ctx, all...)
}

// warn logs a failure to configure another firewall. The network is usable otherwise.
func (g *Rules) warn(err error, bridge string) {
	if err != nil {
		g.log.Warn("another firewall may drop the network's traffic", "bridge", bridge, "error", err)
	}
}

func subject(n *firewall.Network) string { return "network " + id.Short(n.ID) }

func validate(n *firewall.Network) error {
	if !id.Valid(n.ID) {
		return fault.Invalidf("network", "id", "%q is not a network ID of %d hexadecimal digits", n.ID, id.Len)
	}

	if !validDevice(n.Bridge) {
		return fault.Invalidf(subject(n), "bridge", "%q is not a valid interface name", n.Bridge)
	}

	for i, p := range n.Subnets {
		if !p.IsValid() || p != p.Masked() || p.Bits() == 0 {
			return fault.Invalidf(subject(n), "subnets", "invalid subnet %s, must be %s", p, p.Masked())
		}
		if j := overlapping(p, n.Subnets[:i]); j >= 0 {
			return fault.Invalidf(subject(n), "subnets", "subnets %s and %s overlap", n.Subnets[j], p)
		}
	}

	return nil
}

// validDevice reports whether the kernel accepts a device name.
func validDevice(name string) bool {
	const longest = 15 // IFNAMSIZ without the terminating zero
	return name != "" && len(name) <= longest && name != "." && name != ".." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r > '~' })
}

// clash rejects a bridge or subnet of another network.
func (g *Rules) clash(n *firewall.Network) error {
	for _, o := range g.store.Networks() {
		if o.ID == n.ID {
			continue
		}
		if o.Bridge == n.Bridge {
			return fault.New(fault.Exists, subject(n), fmt.Sprintf("bridge %s is in use by %s", n.Bridge, subject(o)))
		}
		for _, p := range n.Subnets {
			if j := overlapping(p, o.Subnets); j >= 0 {
				return fault.New(fault.Exists, subject(n), fmt.Sprintf("subnet %s overlaps %s of %s", p, o.Subnets[j],
					subject(o)))
			}
		}
	}

	return nil
}

// overlapping returns the index of the first prefix that overlaps p, or -1.
func overlapping(p netip.Prefix, some []netip.Prefix) int {
	for i, o := range some {
		if p.Overlaps(o) {
			return i
		}
	}
	return -1
}
