package iptables

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// ReplaceTunnel implements firewall.Firewall. It compares the chains with the state, because chains
// of several tables come and go with the tunnel.
func (b *Backend) ReplaceTunnel(ctx context.Context, _, now *firewall.Tunnel) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkSupported(ctx, nil); err != nil {
		return err
	}

	defer b.watcher.beginChange()()
	bindings := slices.Collect(maps.Values(b.bindings))
	port.Sort(bindings)
	for _, f := range b.families {
		have, err := f.read(ctx)
		if err != nil {
			return err
		}
		text := difference(f, have, scope{sortedNetworks(b.networks), now}, bindings, &firewall.Change{})
		if err := b.restore(ctx, f, text); err != nil {
			return err
		}
	}

	b.tunnel = now
	return nil
}

// tunnelRules selects forwarded packets to and from other hosts, before those of bridges. Containers
// must not send frames of the fleet themselves: a peer would take them for frames of this host.
func (f family) tunnelRules(in scope) (rules []string) {
	if in.tunnel == nil {
		return nil
	}
	if f.v6 {
		rules = append(rules, extensionHeaders(in.tunnel)+" -j "+chainForged)
	}
	rules = append(rules, f.ofFleet(in.tunnel)+" -j "+chainForged)
	for _, d := range in.tunnel.Encrypted {
		rules = append(rules, "-o "+d.Name+" -j "+chainToEncrypted)
	}
	for _, d := range in.tunnel.Encrypted {
		rules = append(rules, "-i "+d.Name+" -j "+chainFromEncrypted)
	}
	return append(rules, "-o "+in.tunnel.Device+" -j "+chainToTunnel, "-i "+in.tunnel.Device+" -j "+chainFromTunnel)
}

// clearRules drops packets to other hosts of an encrypted network that would leave in clear, of known
// connections too: the encrypted devices are missing, or another program has changed the routes.
func (f family) clearRules(networks []firewall.Network) (rules []string) {
	return f.ofEncrypted(networks, "-d %s -i %s -j DROP")
}

// forgedClear drops packets from outside with a source in the encrypted network they are for.
func (f family) forgedClear(networks []firewall.Network) (rules []string) {
	return f.ofEncrypted(networks, "-s %[1]s ! -i %[2]s -o %[2]s -j DROP")
}

// ofEncrypted returns a rule for each subnet of encrypted networks, from a format with subnet and bridge.
func (f family) ofEncrypted(networks []firewall.Network, format string) (rules []string) {
	for _, n := range networks {
		for _, p := range n.Subnets {
			if n.Encrypted && p.Addr().Is6() == f.v6 {
				rules = append(rules, fmt.Sprintf(format, p, n.Bridge))
			}
		}
	}
	return rules
}

// forgedRules drops frames that come from containers. The host may be a router for other ones.
func forgedRules(networks []firewall.Network) (rules []string) {
	for _, n := range networks {
		rules = append(rules, "-i "+n.Bridge+" -j DROP")
	}
	return rules
}

// tunnelPostRules keeps the source of packets to other hosts.
func tunnelPostRules(t *firewall.Tunnel) []string {
	if t == nil {
		return nil
	}
	rules := []string{"-o " + t.Device + " -j RETURN"}
	for _, d := range t.Encrypted {
		rules = append(rules, "-o "+d.Name+" -j RETURN")
	}
	return rules
}

// mssChains lowers the MSS of TCP connections through the tunnel. The target never raises it.
func (f family) mssChains(t *firewall.Tunnel) []chain {
	headers := 20 + 20
	if f.v6 {
		headers = 40 + 20
	}
	var rules []string
	for _, d := range append([]firewall.Device{{Name: t.Device, MTU: t.MTU}}, t.Encrypted...) {
		rules = append(rules, fmt.Sprintf("-o %s -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss %d", d.Name,
			max(minMSS, d.MTU-headers)))
	}
	return []chain{{chainMSS, rules}}
}

const minMSS = 536 // RFC 9293

// tunnelChains returns the chains of the filter table that exist with a tunnel only.
func (f family) tunnelChains(in scope) []chain {
	input := []string{f.ofFleet(in.tunnel) + " -j " + chainFrames}
	if f.v6 {
		input = slices.Insert(input, 0, extensionHeaders(in.tunnel)+" -j DROP")
	}
	for _, d := range append([]firewall.Device{{Name: in.tunnel.Device}}, in.tunnel.Encrypted...) {
		input = append(input, "-i "+d.Name+" -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
			"-i "+d.Name+" -j DROP")
	}

	to, from := f.withinNetwork(in.networks, false)
	to = slices.Concat(f.clearRules(in.networks), to)
	from = slices.Concat(f.ofEncrypted(in.networks, "-s %s -o %s -j DROP"), from)
	chains := []chain{{chainFrames, f.frameRules(in.tunnel)}, {chainInput, input},
		{chainForged, forgedRules(in.networks)}, {chainToTunnel, to}, {chainFromTunnel, from}}
	if len(in.tunnel.Encrypted) > 0 {
		to, from := f.withinNetwork(in.networks, true)
		chains = append(chains, chain{chainToEncrypted, to}, chain{chainFromEncrypted, from})
	}
	return chains
}

// withinNetwork accepts packets to and from other hosts whose bridge and remote address belong to one
// network, encrypted or not.
func (f family) withinNetwork(networks []firewall.Network, encrypted bool) (to, from []string) {
	to = []string{known, "-m conntrack --ctstate INVALID -j DROP"}
	from = slices.Clone(to)
	for _, n := range networks {
		for _, p := range n.Subnets {
			if n.Tunnel && n.Encrypted == encrypted && p.Addr().Is6() == f.v6 {
				to = append(to, "-d "+p.String()+" -i "+n.Bridge+" -j ACCEPT")
				from = append(from, "-s "+p.String()+" -o "+n.Bridge+" -j ACCEPT")
			}
		}
	}
	return append(to, "-j DROP"), append(from, "-j DROP")
}

// frameRules accepts frames of peers with a source in their blocks. They are filtered at input, where
// fragments are reassembled.
func (f family) frameRules(t *firewall.Tunnel) (rules []string) {
	for _, p := range t.Peers {
		if p.Address.Is6() != f.v6 {
			continue
		}
		for _, block := range p.Blocks {
			from := "-s " + single(p.Address) + " -m u32 --u32 \""
			rules = append(rules, from+f.innerSource(block)+"\" -j RETURN", from+f.errorAbout(block)+"\" -j RETURN")
		}
	}
	return append(rules, "-j DROP")
}

// Offsets in a VXLAN frame, from the start of its UDP header.
const (
	frameVNI       = 12
	frameEtherType = 8 + 8 + 12
	frameIP        = frameEtherType + 2
	frameSource4   = frameIP + 12
	frameSource6   = frameIP + 8
	frameError4    = frameIP + 20         // the ICMP header, without options before it
	frameError6    = frameIP + 40         //
	errorTarget4   = frameError4 + 8 + 16 // the destination of the packet that the error is about
	errorTarget6   = frameError6 + 8 + 24 //
)

// inUDP returns the u32 location of four bytes after the UDP header's start. An IPv6 header has no
// variable length: packets with extension headers are dropped.
func (f family) inUDP(offset int) string {
	if f.v6 {
		return fmt.Sprintf("%#x", 40+offset)
	}
	return fmt.Sprintf("0x0>>0x16&0x3c@%#x", offset)
}

// ofFleet matches VXLAN frames with the UDP port and VNI of the fleet.
func (f family) ofFleet(t *firewall.Tunnel) string {
	return fmt.Sprintf(`-p udp -m udp --dport %d -m u32 --u32 "%s>>0x8=%#x"`, t.Port, f.inUDP(frameVNI), t.VNI)
}

// extensionHeaders matches IPv6 packets to the UDP port of the fleet with extension headers, in which
// the offsets of the other rules are wrong.
func extensionHeaders(t *firewall.Tunnel) string {
	return fmt.Sprintf(`-p udp -m udp --dport %d -m u32 --u32 "0x4>>0x8&0xff=0x0:0x10,0x12:0xff"`, t.Port)
}

// innerSource returns the u32 test that the inner source of a frame is in a block.
func (f family) innerSource(block netip.Prefix) string {
	if block.Addr().Is6() {
		return f.inFrame(unix.ETH_P_IPV6, nil, block, frameSource6)
	}
	return f.inFrame(unix.ETH_P_IP, nil, block, frameSource4)
}

// errorAbout returns the u32 test that a frame has an ICMP error about a packet to a block: unreachable or time
// exceeded, or any of ICMPv6. A host sends them with an address of its own.
func (f family) errorAbout(block netip.Prefix) string {
	if block.Addr().Is6() {
		return f.inFrame(unix.ETH_P_IPV6, []string{
			fmt.Sprintf("%s>>0x8&0xff=%#x", f.inUDP(frameIP+4), unix.IPPROTO_ICMPV6),
			f.inUDP(frameError6) + ">>0x18=0x1:0x4"}, block, errorTarget6)
	}
	return f.inFrame(unix.ETH_P_IP, []string{f.inUDP(frameIP) + ">>0x18=0x45",
		fmt.Sprintf("%s>>0x10&0xff=%#x", f.inUDP(frameIP+8), unix.IPPROTO_ICMP),
		f.inUDP(frameError4) + ">>0x18=0x3,0xb"}, block, errorTarget4)
}

// inFrame returns the u32 test that a frame has an EtherType, passes tests, and has an address of a block at a place.
func (f family) inFrame(etherType uint16, tests []string, block netip.Prefix, at int) string {
	tests = append([]string{fmt.Sprintf("%s>>0x10=%#x", f.inUDP(frameEtherType), etherType)}, tests...)
	b := block.Addr().AsSlice()
	for i := 0; i < len(b) && i*8 < block.Bits(); i += 4 {
		test := f.inUDP(at + i)
		if rest := block.Bits() - i*8; rest < 32 {
			test += fmt.Sprintf("&%#x", ^uint32(0)<<(32-rest))
		}
		tests = append(tests, fmt.Sprintf("%s=%#x", test, binary.BigEndian.Uint32(b[i:])))
	}

	return strings.Join(tests, "&&")
}
