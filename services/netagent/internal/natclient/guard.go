// Package natclient sends bridge networks to natagent before containers connect to them.
// Each call contains the complete desired state. The acknowledgement is stored. No lock is held
// during a call. Package bringup calls it.
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
	// firstPause and lastPause bound the delay between attempts, which doubles each time.
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Client sends networks to natagent. It is safe for concurrent use.
type Client struct {
	client natv1.FirewallServiceClient
	store  *store.Store
	log    *slog.Logger
}

// New creates a client.
func New(client natv1.FirewallServiceClient, s *store.Store, log *slog.Logger) *Client {
	return &Client{client: client, store: s, log: log}
}

// NeedsFirewall reports whether a network needs firewall rules.
func NeedsFirewall(n network.Network) bool { return n.NeedsFirewall() }

// IsApplied reports whether natagent has acknowledged the network in its current state.
func IsApplied(n store.Network) bool {
	return !NeedsFirewall(n.Network) || n.Status.AppliedFingerprint == fingerprint(n.Network)
}

// IsActive reports whether a network belongs on the host. It does not while it is being deleted or,
// unless predefined, before natagent has acknowledged it, nor does a global one without containers.
func IsActive(n store.Network) bool {
	return !n.Status.Deleting && n.IsOnHost() && (n.IsPredefined() || IsApplied(n))
}

// fingerprint returns the firewall content of a network in a comparable form.
func fingerprint(n network.Network) string {
	w := wanted(n)
	text := fmt.Sprintf("%s %v masquerade=%t inter_container=%t", w.GetBridge(), w.GetSubnets(), w.GetMasquerade(),
		w.GetIcc())
	if w.GetInternal() {
		text += " internal"
	}

	if w.GetTunnel() {
		text += " tunnel"
	}

	if w.GetEncrypted() {
		text += " encrypted"
	}

	if w.GetRoutedSubnets() != nil {
		text += " routed " + strings.Join(w.GetRoutedSubnets(), ",")
	}

	for _, more := range [][]string{w.GetUnprotectedSubnets(), w.GetTrustedInterfaces(),
		{w.GetSnatIpv4() + w.GetSnatIpv6()}} {
		if strings.Join(more, "") != "" {
			text += " " + strings.Join(more, ",")
		}
	}

	return text
}

func wanted(n network.Network) *natv1.FirewallNetwork {
	g := &natv1.FirewallNetwork{Id: n.ID, Bridge: n.Bridge().Device, Masquerade: n.Bridge().Masquerade,
		Icc:      n.ICC(),
		Internal: n.Spec.Internal, Tunnel: n.IsGlobal(), Encrypted: n.Spec.Encrypted}
	for _, p := range n.AllPools() {
		g.Subnets = append(g.Subnets, p.Subnet.String())
	}

	for _, p := range n.UnprotectedSubnets() {
		g.UnprotectedSubnets = append(g.UnprotectedSubnets, p.String())
	}

	for _, p := range n.RoutedSubnets() {
		g.RoutedSubnets = append(g.RoutedSubnets, p.String())
	}

	g.TrustedInterfaces = n.Bridge().TrustedInterfaces
	if n.Bridge().IPv4.SNAT.IsValid() {
		g.SnatIpv4 = n.Bridge().IPv4.SNAT.String()
	}

	if n.Bridge().IPv6.SNAT.IsValid() {
		g.SnatIpv6 = n.Bridge().IPv6.SNAT.String()
	}

	return g
}

// Apply sends the network to natagent and stores the acknowledgement.
func (g *Client) Apply(ctx context.Context, n network.Network) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	if _, err := g.client.PutNetwork(call, &natv1.PutNetworkRequest{Network: wanted(n)}); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.New(fault.Unavailable, n.Subject(), "natagent cannot apply its firewall rules",
			fault.WithCause(err),
			fault.WithHint("check that natagent is running, then try again"))
	}

	return g.store.SetApplied(n.ID, fingerprint(n))
}

// Reapply sends an acknowledged network to a natagent that may have lost it.
func (g *Client) Reapply(ctx context.Context, n network.Network) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := g.client.PutNetwork(call, &natv1.PutNetworkRequest{Network: wanted(n)})
	return err
}

// Delete deletes a network from natagent. It does nothing if natagent does not have it.
func (g *Client) Delete(ctx context.Context, n network.Network) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := g.client.DeleteNetwork(call, &natv1.DeleteNetworkRequest{Id: n.ID}); err != nil {
		return fault.New(fault.Unavailable, n.Subject(), "natagent cannot delete its firewall rules",
			fault.WithCause(err),
			fault.WithHint("check that natagent is running, then try again"))
	}
	return nil
}

// replace deletes the rules of networks that are not stored but have the same bridge. They are left
// over when netagent's state was lost.
func (g *Client) replace(ctx context.Context, n network.Network) (replaced bool, err error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	all, err := g.client.ListNetworks(call, &natv1.ListNetworksRequest{})

	for _, other := range all.GetNetworks() {
		if _, stored := g.store.Network(other.GetId()); stored || other.GetBridge() != n.Bridge().Device ||
			other.GetId() == n.ID {
			continue
		}
		if _, err := g.client.DeleteNetwork(call, &natv1.DeleteNetworkRequest{Id: other.GetId()}); err != nil {
			return false, err
		}
		g.log.Warn("stale firewall network deleted", "network", n.Name, "bridge", n.Bridge().Device, "lost_network",
			other.GetId())
		replaced = true
	}

	return replaced, err
}

// Retry calls apply until it succeeds or ctx is canceled. Between the attempts it deletes the rules
// of networks that are not stored but have the same bridge. It logs the first failure.
func (g *Client) Retry(ctx context.Context, n network.Network, apply func() error) error {
	logged := false
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := apply()
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
