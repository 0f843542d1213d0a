package portguard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names of the sets. After the tables are written, only the elements of sets change.
const (
	setPorts    = "ports"
	setSource4  = "source4"
	setSource6  = "source6"
	setNet4     = "net4"
	setNet6     = "net6"
	setInternal = "internal"
	setLive4    = "live4"
	setLive6    = "live6"
	setSubnet4  = "subnet4"
	setSubnet6  = "subnet6"
)

// set is a set of a table.
type set struct {
	family  byte
	name    string
	fields  []int // lengths of the parts of its key
	ranges  bool
	comment string // which nft shows
}

func sets() []set {
	const l2, l3 = unix.NFPROTO_BRIDGE, unix.NFPROTO_INET
	const ip4, ip6 = 4, 16
	return []set{
		{l2, setPorts, []int{nameLen}, false, "guarded ports"},
		{l2, setSource4, []int{nameLen, macLen, ip4}, false, "port . MAC . own address"},
		{l2, setSource6, []int{nameLen, macLen, ip6}, false, "port . MAC . own address"},
		{l2, setNet4, []int{nameLen, macLen, ip4}, true, "port . MAC . allowed addresses"},
		{l2, setNet6, []int{nameLen, macLen, ip6}, true, "port . MAC . allowed addresses"},
		{l3, setInternal, []int{nameLen}, false, "bridges of internal networks"},
		{l3, setLive4, []int{nameLen, ip4}, false, "bridge . address of a port"},
		{l3, setLive6, []int{nameLen, ip6}, false, "bridge . address of a port"},
		{l3, setSubnet4, []int{nameLen, ip4}, true, "bridge . subnet that contains only such addresses"},
		{l3, setSubnet6, []int{nameLen, ip6}, true, "bridge . subnet that contains only such addresses"},
	}
}

// keyType returns the type of a set's key for nft: six bits for each field.
func (s set) keyType() (kind, length uint32) {
	types := map[int]uint32{nameLen: 41, macLen: 9, 4: 7}
	for i, f := range s.fields {
		length += uint32(f)
		t := types[f]
		if i > 0 && f == 16 {
			t = 8 // an IPv6 address is as long as a name, and never comes first
		}
		kind = kind<<6 | t
	}
	return kind, length
}

// chain is a chain with its rules.
type chain struct {
	family   byte
	name     string
	hook     int // -1: only reached by jumps
	priority int32
	rules    []rule
}

// rule is a rule with its comment, which nft shows. Comments have at most 127 bytes.
type rule struct {
	comment string
	exprs   []expr.Any
}

// Hooks, and priorities before all other chains.
const (
	noHook          = -1
	bridgeIngress   = 0 // NF_BR_PRE_ROUTING
	bridgeLocal     = 1 // NF_BR_LOCAL_IN
	inetInput       = 1
	inetForward     = 2
	bridgePriority  = -310 // before dstnat
	inputPriority   = -10
	forwardPriority = -10
)

// Offsets in headers.
const (
	etherDestination, etherSource = 0, 6
	arpSenderMAC, arpSenderIP     = 8, 14
	source4, source6              = 12, 8
	target6                       = 8
	destination4, destination6    = 16, 24
)

// Registers of a key: a name, a MAC, an address.
const (
	reg1      = unix.NFT_REG_1
	regKey    = unix.NFT_REG32_00
	regMAC    = unix.NFT_REG32_04
	regAddr   = unix.NFT_REG32_06
	regBehind = unix.NFT_REG32_04 // an address that follows a name
)

func chains() []chain {
	const l2, l3 = unix.NFPROTO_BRIDGE, unix.NFPROTO_INET
	target := key(expr.PayloadBaseTransportHeader, target6, 16)
	return []chain{
		{l2, "arp_sender", noHook, 0, []rule{
			{"ARP of the own address", join(arpKey(), in(setSource4), accept())},
			{"ARP of an allowed address", join(arpKey(), in(setNet4), accept())},
			{"forged ARP", drop()},
		}},
		{l2, "advertisement", noHook, 0, []rule{ // the source is checked next
			{"neighbour advertisement of the own address", join(target, in(setSource6), verdict(expr.VerdictReturn))},
			{"neighbour advertisement of an allowed address", join(target, in(setNet6), verdict(expr.VerdictReturn))},
			{"forged neighbour advertisement", drop()},
		}},
		{l2, "from_port", bridgeIngress, bridgePriority, fromPortRules()},
		// these frames come from the port itself, not from the bridge
		{l2, "to_host", bridgeLocal, bridgePriority, []rule{
			{"link-local group, to the host", join(linkLocalGroup(), name(expr.MetaKeyIIFNAME), in(setPorts), drop())},
		}},
		{l3, "input", inetInput, inputPriority, []rule{
			{"from an internal network to other addresses of the host",
				join(name(expr.MetaKeyIIFNAME), in(setInternal), local(false), notLocal(true), drop())},
		}},
		{l3, "forward", inetForward, forwardPriority, []rule{
			{"known connections", join(known(), accept())},
			{"to the address of a port", join(protocol(unix.ETH_P_IP), toKey(destination4, 4), in(setLive4), accept())},
			{"to an address without a port",
				join(protocol(unix.ETH_P_IP), toKey(destination4, 4), in(setSubnet4), drop())},
			{"to the address of a port",
				join(protocol(unix.ETH_P_IPV6), toKey(destination6, 16), in(setLive6), accept())},
			{"to an address without a port",
				join(protocol(unix.ETH_P_IPV6), toKey(destination6, 16), in(setSubnet6), drop())},
		}},
	}
}

// fromPortRules returns the rules for frames from a port. TCP over IPv4 needs one lookup.
func fromPortRules() []rule {
	const advertisement, routerAdvertisement, redirect = 136, 134, 137
	sender4, sender6 := key(expr.PayloadBaseNetworkHeader, source4, 4), key(expr.PayloadBaseNetworkHeader, source6, 16)
	sender := key(expr.PayloadBaseNetworkHeader, arpSenderIP, 4)
	udp := []expr.Any{meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_UDP)}
	icmp6 := []expr.Any{meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_ICMPV6)}
	return []rule{
		{"TCP of the own address", join(protocol(unix.ETH_P_IP), meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_TCP),
			sender4, in(setSource4), accept())},
		{"unguarded ports", join(name(expr.MetaKeyIIFNAME), notIn(setPorts), accept())},
		{"link-local group", join(linkLocalGroup(), drop())},
		{"DHCP server", join(protocol(unix.ETH_P_IP), udp, ports(67, 68), drop())},
		{"IPv4 of the own address", join(protocol(unix.ETH_P_IP), sender4, in(setSource4), accept())},
		{"IPv4 of an allowed address", join(protocol(unix.ETH_P_IP), sender4, in(setNet4), accept())},
		{"ARP of the own address", join(protocol(unix.ETH_P_ARP), sender, in(setSource4),
			verdict(expr.VerdictGoto, "arp_sender"))},
		{"ARP of an allowed address", join(protocol(unix.ETH_P_ARP), sender, in(setNet4),
			verdict(expr.VerdictGoto, "arp_sender"))},
		{"router advertisement", join(protocol(unix.ETH_P_IPV6), icmp6, ofType(routerAdvertisement), drop())},
		{"ICMPv6 redirect", join(protocol(unix.ETH_P_IPV6), icmp6, ofType(redirect), drop())},
		{"DHCPv6 server", join(protocol(unix.ETH_P_IPV6), udp, ports(547, 546), drop())},
		{"neighbour advertisement", join(protocol(unix.ETH_P_IPV6), icmp6, ofType(advertisement),
			verdict(expr.VerdictJump, "advertisement"))},
		{"IPv6 of the own address", join(protocol(unix.ETH_P_IPV6), sender6, in(setSource6), accept())},
		{"IPv6 of an allowed address", join(protocol(unix.ETH_P_IPV6), sender6, in(setNet6), accept())},
		{"forged address, or another protocol", drop()},
	}
}

// join joins expressions and lists of them.
func join(parts ...any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		switch p := p.(type) {
		case expr.Any:
			out = append(out, p)
		case []expr.Any:
			out = append(out, p...)
		}
	}
	return out
}

// protocol matches the protocol in a frame.
func protocol(kind uint16) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyPROTOCOL), equal(binary.BigEndian.AppendUint16(nil, kind)...)}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg1} }

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }

func payload(base expr.PayloadBase, offset, length, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

// ports matches UDP ports.
func ports(source, destination uint16) []expr.Any {
	both := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, source), destination)
	return []expr.Any{payload(expr.PayloadBaseTransportHeader, 0, 4, reg1), equal(both...)}
}

// ofType matches the type of an ICMPv6 message.
func ofType(kind byte) []expr.Any {
	return []expr.Any{payload(expr.PayloadBaseTransportHeader, 0, 1, reg1), equal(kind)}
}

// key loads port . MAC . address of a packet.
func key(base expr.PayloadBase, offset, length uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: regKey},
		payload(expr.PayloadBaseLLHeader, etherSource, 6, regMAC),
		payload(base, offset, length, regAddr),
	}
}

// arpKey loads port . sender's MAC . sender's address of an ARP packet.
func arpKey() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: regKey},
		payload(expr.PayloadBaseNetworkHeader, arpSenderMAC, 6, regMAC),
		payload(expr.PayloadBaseNetworkHeader, arpSenderIP, 4, regAddr),
	}
}

// toKey loads bridge . destination.
func toKey(offset, length uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: regKey},
		payload(expr.PayloadBaseNetworkHeader, offset, length, regBehind),
	}
}

func name(key expr.MetaKey) []expr.Any { return []expr.Any{&expr.Meta{Key: key, Register: regKey}} }

// linkLocalGroup matches 01:80:c2:00:00:0X, which a bridge delivers to the port instead of
// forwarding.
func linkLocalGroup() []expr.Any {
	return []expr.Any{
		payload(expr.PayloadBaseLLHeader, etherDestination, 6, reg1),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 6, Mask: []byte{255, 255, 255, 255, 255, 0xf0},
			Xor: make([]byte, 6)},
		equal(0x01, 0x80, 0xc2, 0, 0, 0),
	}
}

// local matches a destination address of the host; with onLink, one of the receiving interface.
func local(onLink bool) []expr.Any { return addressType(onLink, expr.CmpOpEq) }

func notLocal(onLink bool) []expr.Any { return addressType(onLink, expr.CmpOpNeq) }

func addressType(onLink bool, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true, FlagIIF: onLink},
		&expr.Cmp{Op: op, Register: reg1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	}
}

// known matches packets of existing connections.
func known() []expr.Any {
	zero := make([]byte, 4)
	mask := binary.NativeEndian.AppendUint32(nil, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Register: reg1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: mask, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: zero},
	}
}

func in(set string) expr.Any { return &expr.Lookup{SourceRegister: regKey, SetName: set} }

func notIn(set string) expr.Any {
	return &expr.Lookup{SourceRegister: regKey, SetName: set, Invert: true}
}

func verdict(kind expr.VerdictKind, chain ...string) []expr.Any {
	v := &expr.Verdict{Kind: kind}
	if len(chain) > 0 {
		v.Chain = chain[0]
	}
	return []expr.Any{v}
}

func accept() []expr.Any { return verdict(expr.VerdictAccept) }

// drop counts and drops frames.
func drop() []expr.Any { return join(&expr.Counter{}, verdict(expr.VerdictDrop)) }

// version identifies the rules. Tables with another version are rebuilt.
func version() []byte {
	h := sha256.New()
	for _, s := range sets() {
		fmt.Fprintf(h, "%+v", s)
	}

	for _, c := range chains() {
		fmt.Fprintf(h, "%s %d %d", c.name, c.hook, c.priority)
		for _, r := range c.rules {
			fmt.Fprint(h, r.comment)
			for _, e := range r.exprs {
				fmt.Fprintf(h, " %T%+v", e, e)
			}
		}
	}

	return slices.Concat([]byte("fairlead-ports "), []byte(hex.EncodeToString(h.Sum(nil)[:8])))
}
