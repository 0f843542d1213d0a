package nftables

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// element is a comparable set or map element. The strings hold bytes.
type element struct {
	set    string
	key    string
	keyEnd string // the upper bound, in an interval set with several fields
	end    bool   // the first value after an interval, in an interval set with one field
	value  string // the value of a map element
}

// kernel converts the element for the library. Removals must contain the key only.
func (e element) kernel(remove bool) nftables.SetElement {
	k := nftables.SetElement{Key: []byte(e.key), KeyEnd: []byte(e.keyEnd), IntervalEnd: e.end}
	if !remove {
		k.Val = []byte(e.value)
	}
	return k
}

// inKernelOrder sorts by key, and interval ends before starts at the same value. The kernel accepts
// intervals in no other order, as it checks for overlaps after each element.
func inKernelOrder(a, b element) int {
	if a.end != b.end && a.key == b.key {
		if a.end {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.key, b.key)
}

// desiredElements returns all elements of a state.
func desiredElements(s firewall.State) map[element]bool {
	all := make(map[element]bool, len(s.Bindings)+8*len(s.Networks))
	for _, n := range s.Networks {
		for _, e := range networkElements(&n) {
			all[e] = true
		}
	}

	for _, e := range tunnelElements(s.Tunnel) {
		all[e] = true
	}

	for _, b := range s.Bindings {
		for _, e := range elementsOf(b) {
			all[e] = true
		}
	}

	return all
}

// networkElements returns the elements of a network; none for nil.
func networkElements(n *firewall.Network) []element {
	if n == nil {
		return nil
	}

	name := string(ifname(n.Bridge))
	out := []element{{set: setBridges, key: name}}
	if n.ICC {
		out = append(out, element{set: setICC, key: name + name})
	}
	if n.Tunnel {
		for _, p := range n.Subnets {
			out = append(out, spanElement(name, p, n.Encrypted))
		}
	}
	for _, p := range n.Subnets {
		out = append(out, gatewayElement(p))
	}
	if n.Internal {
		return append(out, element{set: setInternal, key: name})
	}

	for _, trusted := range n.Trusted {
		out = append(out, element{set: setICC, key: string(ifname(trusted)) + name})
	}

	for _, p := range n.Subnets {
		out = append(out, subnetElements(n, name, p)...)
	}

	return out
}

// gatewayElement returns the element for connections from a subnet by the address of its gateway.
func gatewayElement(p netip.Prefix) element {
	set, first, last := setGateway4, string(p.Addr().AsSlice()), string(lastOf(p).AsSlice())
	if p.Addr().Is6() {
		set = setGateway6
	}
	return element{set: set, key: first + first, keyEnd: last + last}
}

// subnetElements returns the elements of a subnet of a network that is not internal.
func subnetElements(n *firewall.Network, name string, p netip.Prefix) []element {
	names, snat := setNames4(), n.SNAT4
	if p.Addr().Is6() {
		names, snat = setNames6(), n.SNAT6
	}

	first, last := string(p.Addr().AsSlice()), lastOf(p)
	if slices.Contains(n.Routed, p) {
		return []element{{set: names.icmp, key: name + first, keyEnd: name + string(last.AsSlice())}}
	}

	out := []element{{set: names.hairpin, key: name + first, keyEnd: name + string(last.AsSlice())}}
	if slices.Contains(n.Unprotected, p) {
		out = append(out, element{set: names.unprotected, key: name + first, keyEnd: name + string(last.AsSlice())})
	}
	if !n.Masquerade {
		return out
	}

	egress := element{set: names.masquerade, key: first}
	if snat.IsValid() {
		egress.set, egress.value = names.snatSubnet, string(snat.AsSlice())
	}

	out = append(out, egress)
	if past := last.Next(); past.IsValid() { // else the interval is open
		out = append(out, element{set: egress.set, key: string(past.AsSlice()), end: true})
	}

	return out
}

// lastOf returns the highest address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// elementsOf returns the elements of a binding.
func elementsOf(b port.Binding) []element {
	if b.Direct() {
		return append([]element{directElement(b)}, sourceElements(b)...)
	}
	if b.IsRange() || b.IsAddress() {
		return append(rangeElements(b), sourceElements(b)...)
	}
	return append([]element{bindingElement(b)}, sourceElements(b)...)
}

// bindingElement returns the element of a published port.
func bindingElement(b port.Binding) element {
	e := element{value: string(b.ContainerIP.AsSlice()) + padded(b.Container.First)}
	key := string([]byte{b.Protocol.Number(), 0, 0, 0}) + padded(b.Host.First)
	switch {
	case b.HostIP.Is4() && b.HostIP.IsUnspecified():
		e.set, e.key = mapDNAT4Any, key
	case b.HostIP.Is4():
		e.set, e.key = mapDNAT4, string(b.HostIP.AsSlice())+key
	case b.HostIP.IsUnspecified():
		e.set, e.key = mapDNAT6Any, key
	default:
		e.set, e.key = mapDNAT6, string(b.HostIP.AsSlice())+key
	}

	return e
}

// binding decodes the element of a binding; ok is false for elements of other sets.
func (e element) binding() (b port.Binding, ok bool) {
	if b, ok = e.rangeBinding(); ok {
		return b, true
	}
	if b, ok = e.directBinding(); ok {
		return b, true
	}

	addr := map[string]int{mapDNAT4: 4, mapDNAT6: 16, mapDNAT4Any: 0, mapDNAT6Any: 0}
	length, ok := addr[e.set]
	if !ok || len(e.key) != length+8 || len(e.value) < 8 {
		return b, false
	}

	switch host, specific := netip.AddrFromSlice([]byte(e.key[:length])); {
	case specific:
		b.HostIP = host
	case e.set == mapDNAT4Any:
		b.HostIP = netip.IPv4Unspecified()
	default:
		b.HostIP = netip.IPv6Unspecified()
	}

	b.Protocol = protocolOf(e.key[length])
	b.Host = port.Single(binary.BigEndian.Uint16([]byte(e.key[length+4:])))
	b.ContainerIP, ok = netip.AddrFromSlice([]byte(e.value[:len(e.value)-4]))
	b.Container = port.Single(binary.BigEndian.Uint16([]byte(e.value[len(e.value)-4:])))
	return b, ok && b.Protocol != ""
}

// padded encodes a port in the four bytes of a concatenation field.
func padded(number uint16) string {
	return string(binary.BigEndian.AppendUint16(nil, number)) + "\x00\x00"
}
