package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Offsets in a VXLAN frame, from the start of its UDP header.
const (
	frameVNI       = 12                   // after the UDP header and the flags
	frameEtherType = 8 + 8 + 12           // of the inner Ethernet header
	frameIP        = frameEtherType + 2   // the inner IP header
	frameSource4   = frameIP + 12         // the inner source address
	frameSource6   = frameIP + 8          //
	frameError4    = frameIP + 20         // the ICMP header, without options before it
	frameError6    = frameIP + 40         //
	errorTarget4   = frameError4 + 8 + 16 // the destination of the packet that the error is about
	errorTarget6   = frameError6 + 8 + 24 //
	minMSS         = 536                  // RFC 9293
	headers4       = 20 + 20              // IPv4 and TCP
	headers6       = 40 + 20              // IPv6 and TCP
	tcpSYN         = 0x02                 // TCP flags
	tcpSYNOrRST    = 0x02 | 0x04          //
	tcpFlagsAt     = 13                   // their offset
	tcpMSS         = unix.TCP_MAXSEG      // the TCP option
	mssAt, mssLen  = uint32(2), uint32(2) // its value
)

// tunnelElements returns the elements of the tunnel; none for nil.
func tunnelElements(t *firewall.Tunnel) []element {
	if t == nil {
		return nil
	}

	name := string(ifname(t.Device))
	mss := func(mtu, headers int) string {
		return string(binary.BigEndian.AppendUint16(nil, uint16(max(minMSS, mtu-headers))))
	}
	out := []element{
		{set: setTunnels, key: name},
		{set: setVNIs, key: padded(t.Port) + string(binary.BigEndian.AppendUint32(nil, t.VNI<<8))},
		{set: mapMSS4, key: name, value: mss(t.MTU, headers4)}, {set: mapMSS6, key: name, value: mss(t.MTU, headers6)},
	}

	for _, d := range t.Encrypted {
		name := string(ifname(d.Name))
		out = append(out, element{set: setTunnels, key: name}, element{set: setEncryptedTunnels, key: name},
			element{set: mapMSS4, key: name, value: mss(d.MTU, headers4)},
			element{set: mapMSS6, key: name, value: mss(d.MTU, headers6)})
	}

	for _, p := range t.Peers {
		names := setNames4()
		if p.Address.Is6() {
			names = setNames6()
		}
		from := string(p.Address.AsSlice())
		for _, block := range p.Blocks {
			set := names.peerTo4
			if block.Addr().Is6() {
				set = names.peerTo6
			}
			out = append(out, element{set: set, key: from + string(block.Addr().AsSlice()),
				keyEnd: from + string(lastOf(block).AsSlice())})
		}
	}

	return out
}

// spanElement returns the element for a subnet of a network that spans hosts.
func spanElement(bridge string, p netip.Prefix, encrypted bool) element {
	names := setNames4()
	if p.Addr().Is6() {
		names = setNames6()
	}
	set := names.tunnel
	if encrypted {
		set = names.encrypted
	}
	return element{set: set, key: bridge + string(p.Addr().AsSlice()), keyEnd: bridge + string(lastOf(p).AsSlice())}
}

// tunnelRules selects forwarded packets to and from other hosts, before those of bridges. Containers
// must not send frames of the fleet themselves: a peer would take them for frames of this host.
//
// Every forwarded packet passes these rules: a comparison precedes a lookup where possible, and encrypted
// devices, which are tunnels too, are looked up for packets of tunnels only.
func tunnelRules() []rule {
	return []rule{
		{"frames of the fleet from a container", join(ofFleet(), ifaceIn(expr.MetaKeyIIFNAME, setBridges), drop())},
		{"MSS of connections to other hosts", ipv4().clampMSS()},
		{"MSS of connections to other hosts", ipv6().clampMSS()},
		{"to containers of other hosts", join(ifaceIn(expr.MetaKeyOIFNAME, setTunnels),
			verdict(expr.VerdictGoto, chainToTunnel))},
		{"from containers of other hosts", join(ifaceIn(expr.MetaKeyIIFNAME, setTunnels),
			verdict(expr.VerdictGoto, chainFromTunnel))},
	}
}

func toTunnelRules() []rule {
	encrypted := join(ifaceIn(expr.MetaKeyOIFNAME, setEncryptedTunnels), verdict(expr.VerdictGoto, chainToEncrypted))
	return slices.Concat([]rule{{"encrypted", encrypted}}, clearRules(), acceptEstablished(), []rule{
		{"to the own network", ipv4().withinNetwork(expr.MetaKeyIIFNAME, ipv4().daddr, ipv4().tunnel)},
		{"to the own network", ipv6().withinNetwork(expr.MetaKeyIIFNAME, ipv6().daddr, ipv6().tunnel)},
		{"to another network, or not from a container", drop()},
	})
}

func fromTunnelRules() []rule {
	encrypted := join(ifaceIn(expr.MetaKeyIIFNAME, setEncryptedTunnels), verdict(expr.VerdictGoto, chainFromEncrypted))
	return slices.Concat([]rule{
		{"encrypted", encrypted},
		{"to an encrypted network, but not encrypted", ipv4().ofEncrypted(expr.MetaKeyOIFNAME, ipv4().saddr)},
		{"to an encrypted network, but not encrypted", ipv6().ofEncrypted(expr.MetaKeyOIFNAME, ipv6().saddr)},
	}, acceptEstablished(), []rule{
		{"from the own network", ipv4().withinNetwork(expr.MetaKeyOIFNAME, ipv4().saddr, ipv4().tunnel)},
		{"from the own network", ipv6().withinNetwork(expr.MetaKeyOIFNAME, ipv6().saddr, ipv6().tunnel)},
		{"from another network, or not to a container", drop()},
	})
}

func toEncryptedRules() []rule {
	return append(acceptEstablished(),
		rule{"to the own network", ipv4().withinNetwork(expr.MetaKeyIIFNAME, ipv4().daddr, ipv4().encrypted)},
		rule{"to the own network", ipv6().withinNetwork(expr.MetaKeyIIFNAME, ipv6().daddr, ipv6().encrypted)},
		rule{"to another network, or not from a container", drop()},
	)
}

func fromEncryptedRules() []rule {
	return append(acceptEstablished(),
		rule{"from the own network", ipv4().withinNetwork(expr.MetaKeyOIFNAME, ipv4().saddr, ipv4().encrypted)},
		rule{"from the own network", ipv6().withinNetwork(expr.MetaKeyOIFNAME, ipv6().saddr, ipv6().encrypted)},
		rule{"from another network, or not to a container", drop()},
	)
}

// clearRules drops packets to other hosts of an encrypted network that would leave in clear, of known
// connections too: the encrypted devices are missing, or another program has changed the routes.
func clearRules() []rule {
	return []rule{
		{"of an encrypted network, but not encrypted", ipv4().ofEncrypted(expr.MetaKeyIIFNAME, ipv4().daddr)},
		{"of an encrypted network, but not encrypted", ipv6().ofEncrypted(expr.MetaKeyIIFNAME, ipv6().daddr)},
	}
}

// forgedClearRules drops packets from outside with a source in the encrypted network they are for.
func forgedClearRules() []rule {
	outside := ifaceNotIn(expr.MetaKeyIIFNAME, setBridges)
	return []rule{
		{"forged: of an encrypted network, but not encrypted",
			join(outside, ipv4().ofEncrypted(expr.MetaKeyOIFNAME, ipv4().saddr))},
		{"forged: of an encrypted network, but not encrypted",
			join(outside, ipv6().ofEncrypted(expr.MetaKeyOIFNAME, ipv6().saddr))},
	}
}

// inputRules filters what other hosts send to this one: frames before they are unpacked, and nothing
// that was unpacked.
func inputRules() []rule {
	return []rule{
		{"frames of the fleet", join(ofFleet(), verdict(expr.VerdictGoto, chainFrames))},
		{"replies from containers of other hosts", join(ifaceIn(expr.MetaKeyIIFNAME, setTunnels),
			ct(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())},
		{"from containers of other hosts to this host", join(ifaceIn(expr.MetaKeyIIFNAME, setTunnels), drop())},
	}
}

// frameRules accepts frames of peers with a source in their blocks, and ICMP errors about packets to these: a host
// sends them with an address of its own. They are filtered at input, where fragments are reassembled.
func frameRules() []rule {
	return []rule{
		{"IPv4 from the block of a host", ipv4().fromPeer(ipv4(), ipv4().peerTo4, frameSource4)},
		{"IPv6 from the block of a host", ipv4().fromPeer(ipv6(), ipv4().peerTo6, frameSource6)},
		{"IPv4 from the block of a host", ipv6().fromPeer(ipv4(), ipv6().peerTo4, frameSource4)},
		{"IPv6 from the block of a host", ipv6().fromPeer(ipv6(), ipv6().peerTo6, frameSource6)},
		{"ICMP error about a packet to the block of a host", ipv4().errorFromPeer4(ipv4().peerTo4)},
		{"ICMP error about a packet to the block of a host", ipv4().errorFromPeer6(ipv4().peerTo6)},
		{"ICMP error about a packet to the block of a host", ipv6().errorFromPeer4(ipv6().peerTo4)},
		{"ICMP error about a packet to the block of a host", ipv6().errorFromPeer6(ipv6().peerTo6)},
		{"from no host of the fleet, or with a forged source", drop()},
	}
}

func transport(offset, length, reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

// ofFleet matches VXLAN frames with the UDP port and VNI of the fleet.
func ofFleet() []expr.Any {
	vni := word(1)
	return []expr.Any{
		load(expr.MetaKeyL4PROTO, reg1), equal([]byte{unix.IPPROTO_UDP}),
		transport(2, 2, reg1), transport(frameVNI, 4, vni),
		&expr.Bitwise{SourceRegister: vni, DestRegister: vni, Len: 4, Mask: []byte{255, 255, 255, 0},
			Xor: []byte{0, 0, 0, 0}},
		&expr.Lookup{SourceRegister: reg1, SetName: setVNIs},
	}
}

// fromPeer accepts frames whose outer and inner source are in a set. f is the outer family, inner the
// inner one, with the offset of its source.
func (f family) fromPeer(inner family, set string, source uint32) []expr.Any {
	etherType := uint16(unix.ETH_P_IP)
	if inner.length == 16 {
		etherType = unix.ETH_P_IPV6
	}
	return join(f.only(), []expr.Any{
		transport(frameEtherType, 2, reg1), equal(binary.BigEndian.AppendUint16(nil, etherType)),
		f.load(f.saddr, reg1), transport(source, inner.length, word(f.length/4)),
	}, in(set), accept())
}

// errorFromPeer4 accepts frames with an ICMP error, unreachable or time exceeded, if the outer source and the
// destination of the packet that it is about are in a set.
func (f family) errorFromPeer4(set string) []expr.Any {
	return join(f.only(), []expr.Any{
		transport(frameEtherType, 2, reg1), equal(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)),
		transport(frameIP, 1, reg1), equal([]byte{0x45}), // the header has no options
		transport(frameIP+9, 1, reg1), equal([]byte{unix.IPPROTO_ICMP}),
		transport(frameError4, 1, reg1), // type 3 or 11
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{0xf7}, Xor: []byte{0}},
		equal([]byte{3}),
		f.load(f.saddr, reg1), transport(errorTarget4, 4, word(f.length/4)),
	}, in(set), accept())
}

// errorFromPeer6 is errorFromPeer4 for ICMPv6, with all errors.
func (f family) errorFromPeer6(set string) []expr.Any {
	return join(f.only(), []expr.Any{
		transport(frameEtherType, 2, reg1), equal(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)),
		transport(frameIP+6, 1, reg1), equal([]byte{unix.IPPROTO_ICMPV6}),
		transport(frameError6, 1, reg1), // type 1 to 4
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg1, Data: []byte{1}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: reg1, Data: []byte{4}},
		f.load(f.saddr, reg1), transport(errorTarget6, 16, word(f.length/4)),
	}, in(set), accept())
}

// withinNetwork accepts packets whose bridge and remote address belong to one network of a set.
func (f family) withinNetwork(bridge expr.MetaKey, remote uint32, set string) []expr.Any {
	return join(f.only(), one(load(bridge, reg1)), one(f.load(remote, reg2)), in(set), acceptNew())
}

// ofEncrypted drops packets whose bridge and remote address belong to one encrypted network.
func (f family) ofEncrypted(bridge expr.MetaKey, remote uint32) []expr.Any {
	return join(f.only(), one(load(bridge, reg1)), one(f.load(remote, reg2)), in(f.encrypted), drop())
}

// clampMSS lowers the MSS of TCP connections through the tunnel.
func (f family) clampMSS() []expr.Any {
	return join(f.only(), []expr.Any{
		load(expr.MetaKeyL4PROTO, reg1), equal([]byte{unix.IPPROTO_TCP}),
		transport(tcpFlagsAt, 1, reg1),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{tcpSYNOrRST}, Xor: []byte{0}},
		equal([]byte{tcpSYN}),
		load(expr.MetaKeyOIFNAME, reg1),
	}, lookUp(f.mss), one(&expr.Exthdr{SourceRegister: reg1, Type: tcpMSS, Offset: mssAt, Len: mssLen,
		Op: expr.ExthdrOpTcpopt}))
}
