package natagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// The values of Config.FirewallBackend.
const (
	BackendAuto     = "auto" // nftables where the kernel can, else iptables; so is the empty string
	BackendNFTables = "nftables"
	BackendIPTables = "iptables"
)

// backend is a firewall, and how to take out what other backends have left.
type backend struct {
	firewall.Firewall
	flavour       string // of iptables, "" for nftables
	removeOthers  func(ctx context.Context) error
	synced        atomic.Bool
	othersRemoved bool // others has been done
	log           *slog.Logger
}

// openBackend opens what is asked for. It changes nothing in the kernel.
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
		cfg.Log.Warn("using iptables, as nf_tables does not work here", "error", err)
		return second, nil
	}
	return nil, fault.Invalidf("natagent", "firewall-backend", "unknown firewall backend %q: it should be %s, %s or %s",
		cfg.FirewallBackend, BackendAuto, BackendNFTables, BackendIPTables)
}

func openNFTables(ctx context.Context, ns hostns.NS, cfg Config) (*backend, error) {
	log := cfg.Log
	features, err := nftables.Probe(ctx, ns)
	if err != nil {
		return nil, err
	}
	if !features.Owner {
		log.Warn("this kernel (before 6.9) cannot keep others from changing the firewall; changes will be mended")
	}
	features.Accept = firewall.Mark{Value: cfg.AcceptMark, Mask: cfg.AcceptMask}
	fw, err := nftables.Open(ns, features)
	if err != nil {
		return nil, err
	}
	return &backend{Firewall: fw, log: log, removeOthers: func(ctx context.Context) error { return iptables.Remove(ctx, ns, "") }}, nil
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
	return &backend{Firewall: fw, flavour: features.Flavour, log: log, removeOthers: func(ctx context.Context) error {
		return errors.Join(nftables.Remove(ctx, ns), iptables.Remove(ctx, ns, features.Flavour))
	}}, nil
}

// Sync makes the kernel be as wanted.
func (b *backend) Sync(ctx context.Context, want firewall.State) (firewall.Change, error) {
	change, err := b.Firewall.Sync(ctx, want)
	if err == nil {
		b.synced.Store(true)
	}
	return change, err
}

// removeOtherBackends takes the rules of other backends out, once our own are in. For a moment both are, which does no harm: the
// first translates and each guards.
func (b *backend) removeOtherBackends(ctx context.Context) {
	if b.othersRemoved || !b.synced.Load() {
		return
	}
	if err := b.removeOthers(ctx); err != nil {
		b.log.Warn(fmt.Sprintf("rules of another firewall backend are still there: %v", err))
		return
	}
	b.othersRemoved = true
}

// name is what people call the backend.
func (b *backend) name() string {
	if b.flavour == "" {
		return BackendNFTables
	}
	return BackendIPTables + "-" + b.flavour
}
