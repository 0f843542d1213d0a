package natagent

import (
	"context"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/hostns"
	"github.com/fairlead/fairlead/services/natagent/inputpolicy"
	"github.com/fairlead/fairlead/services/natagent/reach"
	"github.com/fairlead/fairlead/services/natagent/store"
)

// explainer tells what becomes of connections on this host.
type explainer struct {
	ns    hostns.NS
	store *store.Store
	fw    *backend
	input *inputpolicy.Reader
}

// Explain follows a packet through our rules, and looks for those of others that decide, too.
func (e explainer) Explain(ctx context.Context, p reach.Packet) (reach.Verdict, []string, error) {
	own, err := addresses(e.ns)
	if err != nil {
		return reach.Verdict{}, nil, err
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
	v := reach.Explain(state, func(a netip.Addr) bool { return a.IsLoopback() || own[a] }, p)
	return v, e.others(ctx, p, v), nil
}

// others are words about rules of others: those that drop what is forwarded, and those that keep the host's own programs from being
// reached at the port, which says what its administrator wants.
func (e explainer) others(ctx context.Context, p reach.Packet, v reach.Verdict) (out []string) {
	if !p.Source.IsValid() || v.Binding == nil || v.Binding.Direct() {
		return nil
	}
	if closed, ok := e.input.Closed(ctx, p.Protocol, p.Target, p.Source); ok {
		out = append(out, closed.String()+"; a published port does not pass there")
	}
	return out
}

// Rule is where rules stand, in the words of the backend's own listing.
func (e explainer) Rule(at reach.Place) string {
	if e.fw.flavour == "" {
		return map[reach.Place]string{reach.Loopback: "table inet fairlead, chain raw_prerouting", reach.Published: "table inet fairlead, chain to_published",
			reach.ToBridge: "table inet fairlead, chain to_bridge", reach.FromBridge: "table inet fairlead, chain from_bridge", reach.Port: "isolated port of the bridge"}[at]
	}
	return map[reach.Place]string{reach.Loopback: "iptables -t raw, chain FAIRLEAD-RAW", reach.Published: "iptables -t nat, chain FAIRLEAD-DNAT",
		reach.ToBridge: "iptables, chain FAIRLEAD-TO", reach.FromBridge: "iptables, chain FAIRLEAD-FROM", reach.Port: "isolated port of the bridge"}[at]
}

// addresses are the host's own.
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
