// Package packettrace predicts the result of a new connection: which published port it uses, and
// which rule accepts or drops it. It evaluates the state of the firewall backends in the same order
// as the rules.
//
// It performs no I/O. The tests of the backends compare it with real packets.
package packettrace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Packet is the first packet of a connection.
type Packet struct {
	Source    netip.Addr     // zero: the host itself
	Interface string         // input interface; empty: an interface that is not trusted
	Target    netip.AddrPort // 0.0.0.0 and :: are host addresses without bindings of their own
	Protocol  port.Protocol

	WithoutPolicies bool // leaves out the policies of containers
}

// Location is the place of a rule.
type Location int

// Locations.
const (
	NoRule     Location = iota // no rule of Fairlead
	Loopback                   // loopback filter
	Published                  // published ports, addresses and their allowed sources
	ToBridge                   // ingress of containers
	FromBridge                 // egress of containers
	Port                       // bridge ports, which can be isolated
	Policy                     // policies of containers
)

// Step is the effect of one rule.
type Step struct {
	Place Location
	Text  string
}

// Verdict is the result for a packet.
type Verdict struct {
	Reached bool
	Binding *port.Binding  // the binding used; nil: none
	Target  netip.AddrPort // the destination after DNAT
	Steps   []Step
}

// host is the state that a trace uses.
type host struct {
	firewall.State
	local func(netip.Addr) bool
}

// Trace traces a packet. local reports whether an address is the host's own.
func Trace(s firewall.State, local func(netip.Addr) bool, p Packet) Verdict {
	h := host{s, local}
	v := Verdict{Target: p.Target}
	dst := p.Target.Addr()
	ownHost := !p.Source.IsValid() || p.Source.IsLoopback() || local(p.Source)
	if dst.Is4() && dst.IsLoopback() && !ownHost {
		return v.drop(Loopback, "loopback traffic from outside: dropped")
	}

	if dst.IsLoopback() || dst.IsUnspecified() || local(dst) {
		b, ok := h.lookUp(p, &v, ownHost)
		if !ok {
			return v
		}
		v.Binding, v.Target = &b, target(b, p.Target.Port())
	}

	to, known := h.networkOf(v.Target.Addr())
	if ownHost {
		return v.accept(NoRule, "host to container: accepted")
	}

	from, inside := h.networkOf(p.Source)
	if !known {
		return leaves(v, from, inside)
	}

	return h.ingress(v, p, from, inside, to)
}

// lookUp finds the binding of an address and port, in the order of the rules: ports of the address,
// the published address, ports of all addresses.
func (h host) lookUp(p Packet, v *Verdict, ownHost bool) (port.Binding, bool) {
	for _, fits := range []func(port.Binding) bool{
		func(b port.Binding) bool { return !b.IsAddress() && b.HostIP == p.Target.Addr() },
		func(b port.Binding) bool { return b.IsAddress() && b.HostIP == p.Target.Addr() },
		func(b port.Binding) bool {
			return !b.IsAddress() && b.HostIP.IsUnspecified() && b.HostIP.Is4() == p.Target.Addr().Is4()
		},
	} {
		i := slices.IndexFunc(h.Bindings, func(b port.Binding) bool {
			return fits(b) && (b.IsAddress() || b.Protocol == p.Protocol && b.Host.Has(p.Target.Port()))
		})
		if i < 0 {
			continue
		}
		b := h.Bindings[i]
		if !ownHost && !b.Sources.Contains(p.Source) {
			*v = v.drop(Published, fmt.Sprintf("%s: source not in %s", b.Subject(), b.Sources))
			return b, false
		}
		v.Steps = append(v.Steps, Step{Published, fmt.Sprintf("%s: DNAT to %s (container %s)", b.Subject(),
			target(b, p.Target.Port()), b.OwnerName)})
		return b, true
	}

	*v = v.drop(NoRule, "not published, delivered to the host")
	return port.Binding{}, false
}

// target returns the target of a binding for a host port.
func target(b port.Binding, number uint16) netip.AddrPort {
	if b.IsAddress() || b.IsRange() {
		return netip.AddrPortFrom(b.ContainerIP, number)
	}
	return b.Target()
}

func (h host) networkOf(a netip.Addr) (firewall.Network, bool) {
	for _, n := range h.Networks {
		for _, p := range n.Subnets {
			if p.Contains(a) {
				return n, true
			}
		}
	}
	return firewall.Network{}, false
}

// leaves decides about packets to other destinations than our networks.
func leaves(v Verdict, from firewall.Network, inside bool) Verdict {
	switch {
	case !inside:
		return v.drop(NoRule, "not a container network")
	case from.Internal:
		return v.drop(FromBridge, from.Bridge+" is internal: egress dropped")
	}
	return v.accept(FromBridge, "egress of "+from.Bridge+": accepted")
}

// ingress decides about packets to one of our networks.
func (h host) ingress(v Verdict, p Packet, from firewall.Network, inside bool, to firewall.Network) Verdict {
	same := inside && from.ID == to.ID
	switch {
	case same && v.Binding == nil && !to.ICC:
		return v.drop(Port, "inter-container traffic of "+to.Bridge+": dropped")
	case same && to.ICC:
		return v.accept(ToBridge, "inter-container traffic of "+to.Bridge+": accepted")
	case inside && from.Internal:
		return v.drop(ToBridge, from.Bridge+" is internal: egress dropped")
	case to.Internal:
		return v.drop(ToBridge, to.Bridge+" is internal: ingress dropped")
	case !inside && slices.Contains(to.Trusted, p.Interface):
		return v.accept(ToBridge, "trusted interface "+p.Interface+": accepted")
	case slices.ContainsFunc(to.Unprotected, func(o netip.Prefix) bool { return o.Contains(v.Target.Addr()) }):
		return v.accept(ToBridge, "gateway mode nat-unprotected: accepted")
	case v.Binding != nil:
		return v.accept(ToBridge, "published port: accepted")
	}

	if inside && !slices.ContainsFunc(to.Routed, func(r netip.Prefix) bool { return r.Contains(v.Target.Addr()) }) {
		return v.drop(ToBridge, from.Bridge+" to "+to.Bridge+": dropped")
	}

	return h.directIngress(v, p)
}

// directIngress decides about packets to a container's own address, which can have direct access.
func (h host) directIngress(v Verdict, p Packet) Verdict {
	i := slices.IndexFunc(h.Bindings, func(b port.Binding) bool {
		return b.Direct() && b.HostIP == p.Target.Addr() && b.Protocol == p.Protocol &&
			b.Host.Has(p.Target.Port())
	})

	if i < 0 {
		return v.drop(ToBridge, "direct access: dropped")
	}

	b := h.Bindings[i]
	v.Binding = &b
	if !b.Sources.Contains(p.Source) {
		return v.drop(ToBridge, b.Subject()+": source not in "+string(b.Sources))
	}

	return v.accept(ToBridge, b.Subject()+": open")
}

func (v Verdict) accept(at Location, text string) Verdict {
	v.Reached = true
	v.Steps = append(v.Steps, Step{at, text})
	return v
}

func (v Verdict) drop(at Location, text string) Verdict {
	v.Reached = false
	v.Steps = append(v.Steps, Step{at, text})
	return v
}
