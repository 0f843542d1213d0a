// Package explain follows the first packet of a connection through Fairlead's rules on this host,
// and reports foreign rules that can drop it. It sends no packet and changes nothing.
//
// Package api calls it. The rules are those of package packettrace.
package explain

import (
	"context"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Store holds the desired state.
type Store interface {
	State() firewall.State
	Publications() []*publication.Publication
}

// HostFirewall finds rules of the host firewall that block a port.
type HostFirewall interface {
	Blocked(ctx context.Context, proto port.Protocol, target netip.AddrPort,
		source netip.Addr) (hostfirewall.Block, bool)
}

// Rules names the location of a rule.
type Rules interface {
	Rule(packettrace.Location) string
}

// Explainer explains connections on this host.
type Explainer struct {
	Rules
	ns    hostns.NS
	store Store
	input HostFirewall
}

// New returns an explainer.
func New(ns hostns.NS, store Store, rules Rules, input HostFirewall) *Explainer {
	return &Explainer{rules, ns, store, input}
}

// Explain traces a packet through our rules, and returns notes about foreign rules.
func (e *Explainer) Explain(ctx context.Context, p packettrace.Packet) (packettrace.Verdict, []string, error) {
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
func (e *Explainer) foreignRules(ctx context.Context, p packettrace.Packet, v packettrace.Verdict) (out []string) {
	if !p.Source.IsValid() || v.Binding == nil || v.Binding.Direct() {
		return nil
	}
	if closed, ok := e.input.Blocked(ctx, p.Protocol, p.Target, p.Source); ok {
		out = append(out, closed.String()+"; published ports bypass it")
	}
	return out
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
