package natagent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Values of Config.FirewallBackend.
const (
	BackendAuto     = "auto" // nftables if the kernel supports it, else iptables; also the empty string
	BackendNFTables = "nftables"
	BackendIPTables = "iptables"
)

// backend is a firewall backend, with a function that removes the rules of other backends.
type backend struct {
	firewall.Firewall
	flavour      string // flavor of iptables, "" for nftables
	removeStale  func(ctx context.Context) error
	synced       atomic.Bool
	staleRemoved bool // removeStale has succeeded
	log          *slog.Logger
}

// openBackend opens the configured backend. It does not change the kernel.
func openBackend(ctx context.Context, ns hostns.NS, cfg Config) (*backend, error) {
	switch cfg.FirewallBackend {
	case BackendNFTables:
		return openNFTables(ctx, ns, cfg)
	case BackendIPTables:
		return openIPTables(ctx, ns, cfg)
	case BackendAuto, "":
		b, err := openNFTables(ctx, ns, cfg)
		if err == nil || fault.Is(err, fault.Denied) {
			return b, err
		}
		second, also := openIPTables(ctx, ns, cfg)
		if also != nil {
			return nil, errors.Join(err, also)
		}
		cfg.Log.Warn("nftables unusable, using iptables", "error", err)
		return second, nil
	}

	return nil, fault.Invalidf("natagent", "firewall-backend", "unknown firewall backend %q, must be %s, %s or %s",
		cfg.FirewallBackend, BackendAuto, BackendNFTables, BackendIPTables)
}

func openNFTables(ctx context.Context, ns hostns.NS, cfg Config) (*backend, error) {
	log := cfg.Log
	features, err := nftables.Probe(ctx, ns)
	if err != nil {
		return nil, err
	}
	if !features.Owner {
		log.Warn("no nftables table ownership before Linux 6.9, external changes are reverted")
	}

	features.Accept = firewall.Mark{Value: cfg.AcceptMark, Mask: cfg.AcceptMask}
	fw, err := nftables.Open(ns, features)
	if err != nil {
		return nil, err
	}

	return &backend{Firewall: fw, log: log, removeStale: func(ctx context.Context) error {
		return iptables.Remove(ctx,
			ns, "")
	}}, nil
}

func openIPTables(ctx context.Context, ns hostns.NS, cfg Config) (*backend, error) {
	log := cfg.Log
	features, err := iptables.Probe(ctx, ns, "")
	if err != nil {
		return nil, err
	}

	features.Accept = firewall.Mark{Value: cfg.AcceptMark, Mask: cfg.AcceptMask}
	fw, err := iptables.Open(ns, features)
	if err != nil {
		return nil, err
	}

	return &backend{Firewall: fw, flavour: features.Flavour, log: log, removeStale: func(ctx context.Context) error {
		return errors.Join(nftables.Remove(ctx, ns), iptables.Remove(ctx, ns, features.Flavour))
	}}, nil
}

// Sync implements firewall.Firewall.
func (b *backend) Sync(ctx context.Context, want firewall.State) (firewall.Change, error) {
	change, err := b.Firewall.Sync(ctx, want)
	if err == nil {
		b.synced.Store(true)
	}
	return change, err
}

// removeOtherBackends removes the rules of other backends, once our own are written. Both are
// present for a moment: the first one translates, each one filters.
func (b *backend) removeOtherBackends(ctx context.Context) {
	if b.staleRemoved || !b.synced.Load() {
		return
	}
	if err := b.removeStale(ctx); err != nil {
		b.log.Warn("rules of another firewall backend not removed", "error", err)
		return
	}
	b.staleRemoved = true
}

// name returns the name of the backend for output.
func (b *backend) name() string {
	if b.flavour == "" {
		return BackendNFTables
	}
	return BackendIPTables + "-" + b.flavour
}
