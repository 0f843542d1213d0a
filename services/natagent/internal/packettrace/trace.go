// Package packettrace tells what becomes of a new connection, by the same state that a firewall backend brings into the kernel and in the same
// order: who reaches a published port, and which rule says so. It is pure; the suite of backends holds it against real packets.
package packettrace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Packet is the first one of a connection.
type Packet struct {
	Source    netip.Addr     // not valid: the host itself
	Interface string         // by which it comes in from outside; empty: one that nobody has named as trusted
	Target    netip.AddrPort // 0.0.0.0 and :: are any address of the host that nothing is published on by itself
	Protocol  publication.Protocol
}

// Location is where a rule stands.
type Location int

// The places.
const (
	NoRule     Location = iota // no rule of ours
	Loopback                   // guards of the host's loopback
	Published                  // published ports and addresses, and who may reach them
	ToBridge                   // what reaches containers
	FromBridge                 // what leaves them
	Port                       // a bridge's ports, which may be isolated
)

// Step is what one rule does.
type Step struct {
	Place Location
	Text  string
}

// Verdict is what becomes of the packet.
type Verdict struct {
	Reached bool
	Binding *publication.Binding // that leads it on; nil: none
	Target  netip.AddrPort       // where it goes
	Steps   []Step
}

// host is what Explain knows.
type host struct {
	firewall.State
	local func(netip.Addr) bool
}

// Trace follows a packet. local tells which addresses are the host's own.
func Trace(s firewall.State, local func(netip.Addr) bool, p Packet) Verdict {
	h := host{s, local}
	v := Verdict{Target: p.Target}
	dst := p.Target.Addr()
	ownHost := !p.Source.IsValid() || p.Source.IsLoopback() || local(p.Source)
	if dst.Is4() && dst.IsLoopback() && !ownHost {
		return v.drop(Loopback, "what is for 127.0.0.0/8 and does not come from the host itself is dropped")
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
		return v.accept(NoRule, "the host itself reaches its containers")
	}
	from, inside := h.networkOf(p.Source)
	if !known {
		return leaves(v, from, inside)
	}
	return h.ingress(v, p, from, inside, to)
}

// lookUp finds what the address and port lead to, in the order of the rules: a port of the address, the whole address, a port of all
// addresses.
func (h host) lookUp(p Packet, v *Verdict, ownHost bool) (publication.Binding, bool) {
	for _, fits := range []func(publication.Binding) bool{
		func(b publication.Binding) bool { return !b.IsAddress() && b.HostIP == p.Target.Addr() },
		func(b publication.Binding) bool { return b.IsAddress() && b.HostIP == p.Target.Addr() },
		func(b publication.Binding) bool {
			return !b.IsAddress() && b.HostIP.IsUnspecified() && b.HostIP.Is4() == p.Target.Addr().Is4()
		},
	} {
		i := slices.IndexFunc(h.Bindings, func(b publication.Binding) bool {
			return fits(b) && (b.IsAddress() || b.Protocol == p.Protocol && b.HostPort <= p.Target.Port() && p.Target.Port() <= b.LastPort())
		})
		if i < 0 {
			continue
		}
		b := h.Bindings[i]
		if !ownHost && !b.Sources.Contains(p.Source) {
			*v = v.drop(Published, fmt.Sprintf("%s may be reached from %s and the host itself only", b.Subject(), b.Sources))
			return b, false
		}
		v.Steps = append(v.Steps, Step{Published, fmt.Sprintf("%s leads to %s of container %s", b.Subject(), target(b, p.Target.Port()), b.OwnerName)})
		return b, true
	}
	*v = v.drop(NoRule, "nothing is published there; it is the host's own")
	return publication.Binding{}, false
}

// target is where a binding leads what comes for a port.
func target(b publication.Binding, port uint16) netip.AddrPort {
	if b.IsAddress() || b.IsRange() {
		return netip.AddrPortFrom(b.ContainerIP, port)
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

// leaves is what becomes of what is for none of our networks.
func leaves(v Verdict, from firewall.Network, inside bool) Verdict {
	switch {
	case !inside:
		return v.drop(NoRule, "it is for none of our networks")
	case from.Internal:
		return v.drop(FromBridge, "nothing leaves "+from.Bridge+", whose network is internal")
	}
	return v.accept(FromBridge, "what comes from "+from.Bridge+" may leave")
}

// ingress is what becomes of what is for a network of ours.
func (h host) ingress(v Verdict, p Packet, from firewall.Network, inside bool, to firewall.Network) Verdict {
	same := inside && from.ID == to.ID
	switch {
	case same && v.Binding == nil && !to.ICC:
		return v.drop(Port, "containers of "+to.Bridge+" are kept apart")
	case same && to.ICC:
		return v.accept(ToBridge, "containers of "+to.Bridge+" reach each other")
	case inside && from.Internal:
		return v.drop(ToBridge, "nothing leaves "+from.Bridge+", whose network is internal")
	case to.Internal:
		return v.drop(ToBridge, "nothing enters "+to.Bridge+", whose network is internal")
	case !inside && slices.Contains(to.Trusted, p.Interface):
		return v.accept(ToBridge, "what comes by "+p.Interface+" may enter "+to.Bridge)
	case slices.ContainsFunc(to.Unprotected, func(o netip.Prefix) bool { return o.Contains(v.Target.Addr()) }):
		return v.accept(ToBridge, "anybody may enter "+to.Bridge)
	case v.Binding != nil:
		return v.accept(ToBridge, "what was led on by a published port may enter "+to.Bridge)
	}
	if inside && !slices.ContainsFunc(to.Routed, func(r netip.Prefix) bool { return r.Contains(v.Target.Addr()) }) {
		return v.drop(ToBridge, "what comes from "+from.Bridge+" is kept apart from "+to.Bridge+", but for ports that are published at the host")
	}
	return h.directIngress(v, p)
}

// directIngress is what becomes of what is for a container's own address, where ports may be published without being translated.
func (h host) directIngress(v Verdict, p Packet) Verdict {
	i := slices.IndexFunc(h.Bindings, func(b publication.Binding) bool {
		return b.Direct() && b.HostIP == p.Target.Addr() && b.Protocol == p.Protocol && b.HostPort <= p.Target.Port() && p.Target.Port() <= b.LastPort()
	})
	if i < 0 {
		return v.drop(ToBridge, "what is for a container's own address, and was not led there by a published port, is dropped")
	}
	b := h.Bindings[i]
	v.Binding = &b
	if !b.Sources.Contains(p.Source) {
		return v.drop(ToBridge, b.Subject()+" may be reached from "+string(b.Sources)+" and the host itself only")
	}
	return v.accept(ToBridge, b.Subject()+" is open at the container's own address")
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
