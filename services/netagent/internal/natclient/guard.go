// Package natclient sees to it that natagent knows each bridge network before a container is on it. It asks natagent with the
// network's whole wanted state, remembers durably what was acknowledged, and holds no lock while it asks.
package natclient

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

const (
	// callTimeout bounds one call to natagent.
	callTimeout = 5 * time.Second
	// firstPause and lastPause are how long to wait between attempts: from the one doubling up to the other.
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Client asks natagent.
type Client struct {
	client    natv1.FirewallServiceClient
	store     *store.Store
	onApplied func(networkID string) error
	log       *slog.Logger
}

// New makes a guard. opened is called each time that natagent has acknowledged a network, before anybody is told.
func New(client natv1.FirewallServiceClient, s *store.Store, opened func(networkID string) error, log *slog.Logger) *Client {
	return &Client{client: client, store: s, onApplied: opened, log: log}
}

// NeedsFirewall tells whether a network has anything to guard.
func NeedsFirewall(n network.Network) bool { return n.NeedsFirewall() }

// IsApplied tells whether natagent has once acknowledged the network as it is now.
func IsApplied(n store.Network) bool {
	return !NeedsFirewall(n.Network) || n.AppliedFingerprint == fingerprint(n.Network)
}

// fingerprint is what natagent must know of a network, as text to compare.
func fingerprint(n network.Network) string {
	w := wanted(n)
	text := fmt.Sprintf("%s %v masquerade=%t inter_container=%t", w.GetBridge(), w.GetSubnets(), w.GetMasquerade(), w.GetIcc())
	if w.GetInternal() {
		text += " internal"
	}
	if w.GetRoutedSubnets() != nil {
		text += " routed " + strings.Join(w.GetRoutedSubnets(), ",")
	}
	for _, more := range [][]string{w.GetUnprotectedSubnets(), w.GetTrustedInterfaces(), {w.GetSnatIpv4() + w.GetSnatIpv6()}} {
		if strings.Join(more, "") != "" {
			text += " " + strings.Join(more, ",")
		}
	}
	return text
}

func wanted(n network.Network) *natv1.FirewallNetwork {
	g := &natv1.FirewallNetwork{Id: n.ID, Bridge: n.Bridge, Masquerade: n.Masquerade, Icc: n.InterContainer, Internal: n.Internal}
	for _, p := range n.AllPools() {
		g.Subnets = append(g.Subnets, p.Subnet.String())
	}
	for _, p := range n.UnprotectedSubnets() {
		g.UnprotectedSubnets = append(g.UnprotectedSubnets, p.String())
	}
	for _, p := range n.RoutedSubnets() {
		g.RoutedSubnets = append(g.RoutedSubnets, p.String())
	}
	g.TrustedInterfaces = n.TrustedInterfaces
	if n.Source4.IsValid() {
		g.SnatIpv4 = n.Source4.String()
	}
	if n.Source6.IsValid() {
		g.SnatIpv6 = n.Source6.String()
	}
	return g
}

// EnsureApplied answers when natagent has acknowledged the network, at once if it has done so before. It asks at most once.
func (g *Client) EnsureApplied(ctx context.Context, n store.Network) error {
	if IsApplied(n) {
		return nil
	}
	return g.Apply(ctx, n.Network)
}

// Apply asks natagent and remembers the acknowledgement.
func (g *Client) Apply(ctx context.Context, n network.Network) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := g.client.PutNetwork(call, &natv1.PutNetworkRequest{Network: wanted(n)}); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.New(fault.Unavailable, n.Subject(), "natagent has not put up its guards for it", fault.WithCause(err),
			fault.WithHint("see that natagent runs and is well, then try again"))
	}
	if err := g.store.SetApplied(n.ID, fingerprint(n)); err != nil {
		return err
	}
	return g.onApplied(n.ID)
}

// Reapply tells natagent of a network that it may have forgotten. It asks as Put does if natagent has not acknowledged it as it is.
func (g *Client) Reapply(ctx context.Context, n store.Network) error {
	if !IsApplied(n) {
		return g.Apply(ctx, n.Network)
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := g.client.PutNetwork(call, &natv1.PutNetworkRequest{Network: wanted(n.Network)})
	return err
}

// Delete has natagent forget a network. No error if it does not know it.
func (g *Client) Delete(ctx context.Context, n network.Network) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := g.client.DeleteNetwork(call, &natv1.DeleteNetworkRequest{Id: n.ID}); err != nil {
		return fault.New(fault.Unavailable, n.Subject(), "natagent has not taken down its guards for it", fault.WithCause(err),
			fault.WithHint("see that natagent runs and is well, then try again"))
	}
	return nil
}

// replace deletes the guards that natagent has for a network's bridge under another id, of a network that is not stored any more: its
// record was lost, and the bridge is this network's now.
func (g *Client) replace(ctx context.Context, n network.Network) (replaced bool, err error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := g.client.ListNetworks(call, &natv1.ListNetworksRequest{})
	for _, other := range all.GetNetworks() {
		if _, stored := g.store.Network(other.GetId()); stored || other.GetBridge() != n.Bridge || other.GetId() == n.ID {
			continue
		}
		if _, err := g.client.DeleteNetwork(call, &natv1.DeleteNetworkRequest{Id: other.GetId()}); err != nil {
			return false, err
		}
		g.log.Warn("guards of a lost network replaced", "network", n.Name, "bridge", n.Bridge, "lost_network", other.GetId())
		replaced = true
	}
	return replaced, err
}

// ApplyWithRetry asks natagent again and again until it acknowledges the network or ctx ends. It logs the first failure.
func (g *Client) ApplyWithRetry(ctx context.Context, n network.Network) error {
	logged := false
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := g.Apply(ctx, n)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if replaced, rerr := g.replace(ctx, n); replaced && rerr == nil {
			continue
		}
		if !logged {
			g.log.Warn("waiting for natagent", "network", n.Name, "error", err)
			logged = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
