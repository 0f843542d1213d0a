// Package forwarding makes the other firewalls of the host accept the traffic of bridges: chains at
// the forward hook (package forwardpolicy) and firewalld (package firewalld).
//
// Package guard allows and revokes bridges; package natagent watches for changes.
package forwarding

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewalld"
	"github.com/fairlead/fairlead/services/natagent/internal/forwardpolicy"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Chains lists the foreign chains at the forward hook.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// Policies are the other firewalls of the host.
type Policies struct {
	zones  *firewalld.Client
	chains *forwardpolicy.Policy
}

// New returns the policies. flavour is the flavor of iptables in use, empty for nftables. It does
// not connect to firewalld yet. Watch uses events.
func New(ns hostns.NS, events *nfevents.Source, chains Chains, flavour string, log *slog.Logger) *Policies {
	return &Policies{firewalld.New(ns, chains, log), forwardpolicy.New(ns, events, chains, flavour, log)}
}

// Allow makes each firewall accept the bridges' traffic.
func (p *Policies) Allow(ctx context.Context, bridges ...string) error {
	return errors.Join(p.chains.Allow(ctx, bridges...), p.zones.Allow(ctx, bridges...))
}

// Forget removes the bridges from each firewall.
func (p *Policies) Forget(ctx context.Context, bridges ...string) error {
	return errors.Join(p.chains.Forget(ctx, bridges...), p.zones.Forget(ctx, bridges...))
}

// Watch calls changed when one of the firewalls may have changed, until ctx ends.
func (p *Policies) Watch(ctx context.Context, changed func()) {
	var watchers sync.WaitGroup
	watchers.Go(func() { p.zones.Watch(ctx, changed) })
	watchers.Go(func() { p.chains.Watch(ctx, changed) })
	watchers.Wait()
}

// Close closes the connection to firewalld.
func (p *Policies) Close() error { return p.zones.Close() }
