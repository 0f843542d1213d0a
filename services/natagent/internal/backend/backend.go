// Package backend chooses the firewall backend of a host: the configured one, or the best one that
// works. It removes the rules of other backends once its own are written.
//
// Package natagent opens it. The rules themselves belong to packages nftables and iptables.
package backend

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
)

// Names of backends, as in the configuration.
const (
	Auto     = "auto" // nftables if the kernel supports it, else iptables; also the empty string
	NFTables = "nftables"
	IPTables = "iptables"
)

// Config configures Open.
type Config struct {
	Name   string        // a name above; empty means Auto
	Accept firewall.Mark // of packets to be accepted
	Events *nfevents.Source
	Log    *slog.Logger
}

// Backend is a firewall backend. It implements firewall.Firewall.
type Backend struct {
	firewall.Firewall
	flavour      string // flavor of iptables, "" for nftables
	removeStale  func(ctx context.Context) error
	synced       atomic.Bool
	staleRemoved bool // removeStale has succeeded
	log          *slog.Logger
}

// Open opens the configured backend. It does not change the kernel.
func Open(ctx context.Context, ns hostns.NS, cfg Config) (*Backend, error) {
	switch cfg.Name {
	case NFTables:
		return openNFTables(ctx, ns, cfg)
	case IPTables:
		return openIPTables(ctx, ns, cfg)
	case Auto, "":
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
		cfg.Name, Auto, NFTables, IPTables)
}

func openNFTables(ctx context.Context, ns hostns.NS, cfg Config) (*Backend, error) {
	log := cfg.Log
	features, err := nftables.Probe(ctx, ns)
	if err != nil {
		return nil, err
	}
	if !features.Owner {
		log.Warn("no nftables table ownership before Linux 6.9, external changes are reverted")
	}

	features.Accept = cfg.Accept
	fw, err := nftables.Open(ns, cfg.Events, features)
	if err != nil {
		return nil, err
	}

	return &Backend{Firewall: fw, log: log, removeStale: func(ctx context.Context) error {
		return iptables.Remove(ctx, ns, "")
	}}, nil
}

func openIPTables(ctx context.Context, ns hostns.NS, cfg Config) (*Backend, error) {
	log := cfg.Log
	features, err := iptables.Probe(ctx, ns, "")
	if err != nil {
		return nil, err
	}

	features.Accept = cfg.Accept
	fw, err := iptables.Open(ns, cfg.Events, features)
	if err != nil {
		return nil, err
	}

	return &Backend{Firewall: fw, flavour: features.Flavour, log: log, removeStale: func(ctx context.Context) error {
		return errors.Join(nftables.Remove(ctx, ns), iptables.Remove(ctx, ns, features.Flavour))
	}}, nil
}

// Sync implements firewall.Firewall.
func (b *Backend) Sync(ctx context.Context, want firewall.State) (firewall.Change, error) {
	change, err := b.Firewall.Sync(ctx, want)
	if err == nil {
		b.synced.Store(true)
	}
	return change, err
}

// RemoveOthers removes the rules of other backends, once our own are written. Both are
// present for a moment: the first one translates, each one filters.
func (b *Backend) RemoveOthers(ctx context.Context) {
	if b.staleRemoved || !b.synced.Load() {
		return
	}
	if err := b.removeStale(ctx); err != nil {
		b.log.Warn("rules of another firewall backend not removed", "error", err)
		return
	}
	b.staleRemoved = true
}

// Flavour returns the flavor of iptables, empty for nftables.
func (b *Backend) Flavour() string { return b.flavour }

// Name returns the name of the backend for output.
func (b *Backend) Name() string {
	if b.flavour == "" {
		return NFTables
	}
	return IPTables + "-" + b.flavour
}

// Rule returns the table and chain of a location, as the backend's tool lists them.
func (b *Backend) Rule(at packettrace.Location) string {
	if b.flavour == "" {
		return map[packettrace.Location]string{
			packettrace.Loopback:   "table inet fairlead, chain raw_prerouting",
			packettrace.Published:  "table inet fairlead, chain published",
			packettrace.ToBridge:   "table inet fairlead, chain to_bridge",
			packettrace.FromBridge: "table inet fairlead, chain from_bridge",
			packettrace.Port:       "isolated port of the bridge"}[at]
	}
	return map[packettrace.Location]string{
		packettrace.Loopback:   "iptables -t raw, chain FAIRLEAD-RAW",
		packettrace.Published:  "iptables -t nat, chain FAIRLEAD-DNAT",
		packettrace.ToBridge:   "iptables, chain FAIRLEAD-TO",
		packettrace.FromBridge: "iptables, chain FAIRLEAD-FROM",
		packettrace.Port:       "isolated port of the bridge"}[at]
}

// Clean removes the rules of all backends from a host.
func Clean(ctx context.Context, ns hostns.NS) error {
	return errors.Join(nftables.Remove(ctx, ns), iptables.Remove(ctx, ns, ""))
}
