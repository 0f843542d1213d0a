package natagent

import (
	"context"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// explainer explains connections on this host.
type explainer struct {
	ns    hostns.NS
	store *store.Store
	fw    *backend
	input *hostfirewall.Reader
}

// Explain traces a packet through our rules, and returns notes about foreign rules.
func (e explainer) Explain(ctx context.Context, p packettrace.Packet) (packettrace.Verdict, []string, error) {
	own, err := addresses(e.ns)
	if err != nil {
		return packettrace.Verdict{}, nil, err
	}

	state := e.store.State()
	names := map[netip.Addr]string{}
	for _, all := range e.store.Publications() {
		for _, b := range all.Bindings {
			names[b.ContainerIP] = all.OwnerName
		}
	}

	for i, b := range state.Bindings {
		state.Bindings[i].OwnerName = names[b.ContainerIP]
	}

	v := packettrace.Trace(state, func(a netip.Addr) bool { return a.IsLoopback() || own[a] }, p)
	return v, e.foreignRules(ctx, p, v), nil
}

// foreignRules returns notes about host firewall rules that block the port for the host's own
// programs, which is what the administrator intended.
func (e explainer) foreignRules(ctx context.Context, p packettrace.Packet, v packettrace.Verdict) (out []string) {
	if !p.Source.IsValid() || v.Binding == nil || v.Binding.Direct() {
		return nil
	}
	if closed, ok := e.input.Blocked(ctx, p.Protocol, p.Target, p.Source); ok {
		out = append(out, closed.String()+"; published ports bypass it")
	}
	return out
}

// Rule returns the table and chain of a location, as the backend's tool lists them.
func (e explainer) Rule(at packettrace.Location) string {
	if e.fw.flavour == "" {
		return map[packettrace.Location]string{packettrace.Loopback: "table inet fairlead, chain raw_prerouting",
			packettrace.Published:  "table inet fairlead, chain to_published",
			packettrace.ToBridge:   "table inet fairlead, chain to_bridge",
			packettrace.FromBridge: "table inet fairlead, chain from_bridge",
			packettrace.Port:       "isolated port of the bridge"}[at]
	}
	return map[packettrace.Location]string{packettrace.Loopback: "iptables -t raw, chain FAIRLEAD-RAW",
		packettrace.Published: "iptables -t nat, chain FAIRLEAD-DNAT",
		packettrace.ToBridge:  "iptables, chain FAIRLEAD-TO", packettrace.FromBridge: "iptables, chain FAIRLEAD-FROM",
		packettrace.Port: "isolated port of the bridge"}[at]
}

// addresses returns the host's own addresses.
func addresses(ns hostns.NS) (map[netip.Addr]bool, error) {
	out := map[netip.Addr]bool{}
	err := ns.Do(func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[p.Addr().Unmap()] = true
			}
		}
		return err
	})
	return out, err
}
