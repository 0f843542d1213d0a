package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// chain is a chain and its rules.
type chain struct {
	name     string
	kind     nftables.ChainType // "" for a chain without hook
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    []rule
}

// rule is a rule with its comment, which nft shows. Comments have at most 127 bytes.
type rule struct {
	comment string
	exprs   []expr.Any
}

// userData encodes the comment as nft does.
func (r rule) userData() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.comment)
}

// chains returns the chains. Jump targets come first.
func chains(accepted firewall.Mark) []chain {
	return []chain{
		{name: chainPublished, rules: append(ipv4().publishedRules(), ipv6().publishedRules()...)},
		{name: chainBridgeSNAT, rules: bridgeSNATRules()},
		{name: chainToBridge, rules: slices.Concat(forgedClearRules(), marked(accepted), toBridgeRules())},
		{name: chainFromBridge, rules: slices.Concat(clearRules(), marked(accepted), fromBridgeRules())},
		{name: chainToEncrypted, rules: toEncryptedRules()},
		{name: chainFromEncrypted, rules: fromEncryptedRules()},
		{name: chainToTunnel, rules: toTunnelRules()},
		{name: chainFromTunnel, rules: fromTunnelRules()},
		{name: chainFrames, rules: frameRules()},
		{name: "input", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput,
			priority: nftables.ChainPriorityRaw, rules: inputRules()},
		{name: "raw_prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting,
			priority: nftables.ChainPriorityRaw, rules: loopbackGuards()},
		{name: "nat_prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting,
			priority: nftables.ChainPriorityNATDest, rules: dnatRules()},
		{name: "nat_output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput,
			priority: nftables.ChainPriorityNATDest, rules: dnatRules()},
		{name: "nat_postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting,
			priority: nftables.ChainPriorityNATSource, rules: postroutingRules()},
		{name: "forward", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward,
			priority: nftables.ChainPriorityFilter, rules: append(tunnelRules(), []rule{
				{"to containers", join(ifaceIn(expr.MetaKeyOIFNAME, setBridges),
					verdict(expr.VerdictGoto, chainToBridge))},
				{"from containers", join(ifaceIn(expr.MetaKeyIIFNAME, setBridges),
					verdict(expr.VerdictGoto, chainFromBridge))},
			}...)},
	}
}

// publishedRules translates destinations. Ports of one address are looked up first, then published
// addresses, then ports of all addresses. Before each lookup, packets from other than the allowed
// sources are dropped, so that they do not match a later one.
func (f family) publishedRules() []rule {
	return []rule{
		{"port of one address, source not allowed", f.restrictSources(f.restricted, f.allowed, true, true)},
		{"port of one address", f.dnatPort(f.dnat, true)},
		{"port range of one address", f.dnatPorts(f.dnatRange, true)},
		{"published address, source not allowed",
			f.restrictSources(f.restrictedAddress, f.allowedAddress, true, false)},
		{"published address", f.dnatHost(f.dnatAddress)},
		{"port of all addresses, source not allowed", f.restrictSources(f.restrictedAny, f.allowedAny, false, true)},
		{"port of all addresses", f.dnatPort(f.dnatAny, false)},
		{"port range of all addresses", f.dnatPorts(f.dnatRangeAny, false)},
	}
}

func dnatRules() []rule {
	return []rule{{"to an address of this host", join(toLocal(), verdict(expr.VerdictJump, chainPublished))}}
}

// loopbackGuards drops loopback addresses from outside. Bridges need route_localnet so that
// 127.0.0.1 works for published ports; without these rules, hosts on the LAN could connect to the
// host's loopback or forge its addresses. The kernel itself does this for ::1.
func loopbackGuards() []rule {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	notLo := ifaceIsNot(expr.MetaKeyIIFNAME, "lo")
	return []rule{
		{"loopback addresses from outside", join(ipv4().within(ipv4().daddr, loopback), notLo, drop())},
		{"forged loopback addresses", join(ipv4().within(ipv4().saddr, loopback), notLo, drop())},
	}
}

// postroutingRules translates sources. Packets between our bridges, and to other hosts of the fleet,
// keep their source.
func postroutingRules() []rule {
	return []rule{
		{"to containers of other hosts", join(ifaceIn(expr.MetaKeyOIFNAME, setTunnels), accept())},
		{"to containers", join(ifaceIn(expr.MetaKeyOIFNAME, setBridges), verdict(expr.VerdictJump, chainBridgeSNAT))},
		{"from a container with a published address", ipv4().snatEgress(mapSNAT4Container)},
		{"from a container with a published address", ipv6().snatEgress(mapSNAT6Container)},
		{"from a network with an SNAT address", ipv4().snatEgress(mapSNAT4Subnet)},
		{"from a network with an SNAT address", ipv6().snatEgress(mapSNAT6Subnet)},
		{"from a network with masquerade", ipv4().masqueradeEgress(setMasquerade4)},
		{"from a network with masquerade", ipv6().masqueradeEgress(setMasquerade6)},
	}
}

// bridgeSNATRules masquerades connections whose replies would bypass the host otherwise: those
// from the host's loopback, those of a container to a published port of its own network, and those from
// a network by the address of its gateway: the container of the port may be on that network, too.
func bridgeSNATRules() []rule {
	return []rule{
		{"from the loopback of this host",
			join(ipv4().within(ipv4().saddr, netip.MustParsePrefix("127.0.0.0/8")), masquerade())},
		{"from the loopback of this host",
			join(ipv6().within(ipv6().saddr, netip.MustParsePrefix("::1/128")), masquerade())},
		{"hairpin: to a published port of the own network", ipv4().masqueradeHairpin(setHairpin4)},
		{"hairpin: to a published port of the own network", ipv6().masqueradeHairpin(setHairpin6)},
		{"by the gateway of a network, to another one", ipv4().masqueradeGateway(expr.CtKeyDSTIP)},
		{"by the gateway of a network, to another one", ipv6().masqueradeGateway(expr.CtKeyDSTIP6)},
	}
}

// toBridgeRules filters ingress to containers. Connections with DNAT are to published ports, so
// that no rules for single ports are needed. Other new connections are dropped, unless direct
// access is configured.
func toBridgeRules() []rule {
	pair := []expr.Any{load(expr.MetaKeyIIFNAME, reg1), load(expr.MetaKeyOIFNAME, reg2)}
	return append(acceptEstablished(),
		rule{"inter-container communication, and trusted interfaces", join(pair, in(setICC), acceptNew())},
		rule{"from an internal network", join(ifaceIn(expr.MetaKeyIIFNAME, setInternal), drop())},
		rule{"to an internal network", join(ifaceIn(expr.MetaKeyOIFNAME, setInternal), drop())},
		rule{"gateway mode nat-unprotected", ipv4().acceptSubnet(setUnprotected4)},
		rule{"gateway mode nat-unprotected", ipv6().acceptSubnet(setUnprotected6)},
		rule{"published ports and addresses", join(ct(expr.CtKeySTATUS, statusDNAT), acceptNew())},
		rule{"ICMP to routed subnets", ipv4().acceptICMP(setICMP4)},
		rule{"ICMP to routed subnets", ipv6().acceptICMP(setICMP6)},
		rule{"from another network, except to routed subnets", ipv4().isolateBridges(setICMP4)},
		rule{"from another network, except to routed subnets", ipv6().isolateBridges(setICMP6)},
		rule{"direct access, source not allowed", ipv4().restrictSources(setRestricted4, setAllowed4, true, true)},
		rule{"direct access, source not allowed", ipv6().restrictSources(setRestricted6, setAllowed6, true, true)},
		rule{"direct access to a port", ipv4().acceptDirect(setDirect4)},
		rule{"direct access to a port", ipv6().acceptDirect(setDirect6)},
		rule{"direct access to a port range", ipv4().acceptDirect(setDirect4Range)},
		rule{"direct access to a port range", ipv6().acceptDirect(setDirect6Range)},
		rule{"not published", drop()},
	)
}

// marked accepts all packets with the configured mark.
func marked(m firewall.Mark) []rule {
	if m.Mask == 0 {
		return nil
	}
	native := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	return []rule{{"key bridge-accept-fwmark", join([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(m.Mask), Xor: native(0)},
		equal(native(m.Value)),
	}, accept())}}
}

func fromBridgeRules() []rule {
	return append(acceptEstablished(),
		rule{"from an internal network", join(ifaceIn(expr.MetaKeyIIFNAME, setInternal), drop())},
		rule{"egress", acceptNew()},
	)
}

func acceptEstablished() []rule {
	return []rule{
		{"known connections",
			join(ct(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())},
		{"packets without a connection", join(ct(expr.CtKeySTATE, expr.CtStateBitINVALID), drop())},
	}
}
