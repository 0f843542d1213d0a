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
	return append(rules, f.ofFleet(in.tunnel)+" -j "+chainForged, "-o "+in.tunnel.Device+" -j "+chainToTunnel,
		"-i "+in.tunnel.Device+" -j "+chainFromTunnel)
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
	return []string{"-o " + t.Device + " -j RETURN"}
}

// mssChains lowers the MSS of TCP connections through the tunnel. The target never raises it.
func (f family) mssChains(t *firewall.Tunnel) []chain {
	headers := 20 + 20
	if f.v6 {
		headers = 40 + 20
	}
	return []chain{{chainMSS, []string{fmt.Sprintf(
		"-o %s -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss %d", t.Device, max(minMSS, t.MTU-headers))}}}
}

const minMSS = 536 // RFC 9293

// tunnelChains returns the chains of the filter table that exist with a tunnel only.
func (f family) tunnelChains(in scope) []chain {
	device := in.tunnel.Device
	to := []string{known, "-m conntrack --ctstate INVALID -j DROP"}
	from := slices.Clone(to)
	for _, n := range in.networks {
		for _, p := range n.Subnets {
			if n.Tunnel && p.Addr().Is6() == f.v6 {
				to = append(to, "-d "+p.String()+" -i "+n.Bridge+" -j ACCEPT")
				from = append(from, "-s "+p.String()+" -o "+n.Bridge+" -j ACCEPT")
			}
		}
	}

	input := []string{f.ofFleet(in.tunnel) + " -j " + chainFrames}
	if f.v6 {
		input = slices.Insert(input, 0, extensionHeaders(in.tunnel)+" -j DROP")
	}
	input = append(input, "-i "+device+" -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-i "+device+" -j DROP")
	return []chain{{chainFrames, f.frameRules(in.tunnel)}, {chainInput, input},
		{chainForged, forgedRules(in.networks)}, {chainToTunnel, append(to, "-j DROP")},
		{chainFromTunnel, append(from, "-j DROP")}}
}

// frameRules accepts frames of peers with a source in their blocks. They are filtered at input, where
// fragments are reassembled.
func (f family) frameRules(t *firewall.Tunnel) (rules []string) {
	for _, p := range t.Peers {
		if p.Address.Is6() != f.v6 {
			continue
		}
		for _, block := range p.Blocks {
			rules = append(rules, "-s "+single(p.Address)+" -m u32 --u32 \""+f.innerSource(block)+"\" -j RETURN")
		}
	}
	return append(rules, "-j DROP")
}

// Offsets in a VXLAN frame, from the start of its UDP header.
const (
	frameVNI       = 12
	frameEtherType = 8 + 8 + 12
	frameSource4   = frameEtherType + 2 + 12
	frameSource6   = frameEtherType + 2 + 8
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
	etherType, at := unix.ETH_P_IP, frameSource4
	if block.Addr().Is6() {
		etherType, at = unix.ETH_P_IPV6, frameSource6
	}

	tests := []string{fmt.Sprintf("%s>>0x10=%#x", f.inUDP(frameEtherType), etherType)}
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
