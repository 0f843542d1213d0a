// Package explain follows the first packet of a connection through Fairlead's rules on this host,
// and reports foreign rules that can drop it. It sends no packet and changes nothing.
//
// Package api calls it. The rules are those of package packettrace.
package explain

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	policy "github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
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

// Policies decides with the policies of containers.
type Policies interface {
	Decide(protocol string, from netip.Addr, to netip.AddrPort, local func(netip.Addr) bool) []egress.Decision
}

// Rules names the location of a rule.
type Rules interface {
	Rule(packettrace.Location) string
}

// Explainer explains connections on this host.
type Explainer struct {
	Rules
	ns       hostns.NS
	store    Store
	input    HostFirewall
	policies Policies
}

// New returns an explainer.
func New(ns hostns.NS, store Store, rules Rules, input HostFirewall, policies Policies) *Explainer {
	return &Explainer{rules, ns, store, input, policies}
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

	local := func(a netip.Addr) bool { return a.IsLoopback() || own[a] }
	v := packettrace.Trace(state, local, p)
	if v.Reached && !p.WithoutPolicies {
		for _, d := range e.policies.Decide(string(p.Protocol), p.Source, v.Target, local) {
			v.Steps = append(v.Steps, packettrace.Step{Place: packettrace.Policy, Text: policyText(d)})
			v.Reached = v.Reached && d.Allowed
		}
	}
	return v, e.foreignRules(ctx, p, v), nil
}

// Rule returns the table and chain of a location.
func (e *Explainer) Rule(at packettrace.Location) string {
	if at == packettrace.Policy {
		return "table inet " + rules.TableName
	}
	return e.Rules.Rule(at)
}

// policyText returns the decision of a policy as text.
func policyText(d egress.Decision) string {
	text := "egress policy of container " + d.Container
	if d.Incoming {
		text = "ingress policy of container " + d.Container
	}
	verdict := "refused"
	if d.Allowed {
		verdict = "accepted"
	}
	switch {
	case d.Rule != "":
		return fmt.Sprintf("%s: %s by rule %s", text, verdict, d.Rule)
	case d.Reason == policy.ReasonMetadata:
		return text + ": metadata services are refused without a rule metadata"
	case d.Reason == policy.ReasonDNS:
		return text + ": other name servers are refused with rules for domains"
	case d.Reason == policy.ReasonQUIC:
		return text + ": QUIC is refused, as the name in it is encrypted; a rule with 443/quic allows it"
	case d.Reason != "":
		return text + ": refused, no rule allows it"
	}
	return text + ": " + verdict
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
