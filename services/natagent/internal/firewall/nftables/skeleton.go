package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// TableName is the name of our table, of family inet.
const TableName = "fairlead"

// Sets and maps. Only their elements change at run time.
const (
	setBridge   = "br"      // managed bridges
	setInternal = "br_int"  // bridges of internal networks
	setICC      = "icc"     // bridge . bridge with ICC, and trusted interface . bridge
	setHair4    = "hair4"   // bridge . its subnet
	setHair6    = "hair6"   //
	setMasq4    = "masq4"   // subnets with masquerade
	setMasq6    = "masq6"   //
	mapPub4     = "pub4"    // address . protocol . port : container . port
	mapPub6     = "pub6"    //
	mapPub4Any  = "pub4any" // protocol . port : container . port
	mapPub6Any  = "pub6any" //
	mapRun4     = "run4"    // address . protocol . port range : container
	mapRun6     = "run6"    //
	mapRun4Any  = "run4any" // protocol . port range : container
	mapRun6Any  = "run6any" //
	mapFull4    = "full4"   // address : container, for published addresses
	mapFull6    = "full6"   //
	mapLeave4   = "leave4"  // container : SNAT address
	mapLeave6   = "leave6"  //
	mapSource4  = "source4" // subnet : SNAT address
	mapSource6  = "source6" //
	setOpen4    = "open4"   // bridge . subnet with gateway mode nat-unprotected
	setOpen6    = "open6"   //
	setPing4    = "ping4"   // bridge . routed subnet, with ICMP accepted
	setPing6    = "ping6"   //
	setOwn4     = "own4"    // container address . protocol . port with direct access
	setOwn6     = "own6"    //
	setOwnRun4  = "ownrun4" // container address . protocol . port range
	setOwnRun6  = "ownrun6" //

	// Allowed sources. For each type of key there is a set of restricted keys, and one of keys with
	// their sources.
	setLimit4     = "limit4"     // address . protocol . ports
	setLimit6     = "limit6"     //
	setLimit4Any  = "limit4any"  // protocol . ports
	setLimit6Any  = "limit6any"  //
	setLimit4Full = "limit4full" // address
	setLimit6Full = "limit6full" //
	setFrom4      = "from4"      // address . protocol . ports . sources
	setFrom6      = "from6"      //
	setFrom4Any   = "from4any"   // protocol . ports . sources
	setFrom6Any   = "from6any"   //
	setFrom4Full  = "from4full"  // address . sources
	setFrom6Full  = "from6full"  //
)

// chain is a chain and its rules.
type chain struct {
	name     string
	kind     nftables.ChainType // "" for a chain without hook
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    [][]expr.Any
}

// sets returns the sets and maps. Those without intervals are hashes with constant time per
// element. Interval sets hold only subnets and port ranges, of which there are few.
func sets(t *nftables.Table) []*nftables.Set {
	ip4, ip6, name := nftables.TypeIPAddr, nftables.TypeIP6Addr, nftables.TypeIFName
	proto, port := nftables.TypeInetProto, nftables.TypeInetService
	names := func(n string, fields ...nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, Name: n, KeyType: concat(fields...), Concatenation: len(fields) > 1,
			KeyByteOrder: binaryutil.NativeEndian} // otherwise nft prints names as ""
	}

	interval := func(n string, fields ...nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, Name: n, KeyType: concat(fields...), Concatenation: len(fields) > 1,
			Interval: true}
	}

	toward := func(n string, data nftables.SetDatatype, key ...nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, Name: n, IsMap: true, KeyType: concat(key...), Concatenation: true,
			DataType: concat(data, port)}
	}

	address := func(n string, data nftables.SetDatatype, runs bool, key ...nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, Name: n, IsMap: true, Interval: runs, KeyType: concat(key...),
			Concatenation: len(key) > 1, DataType: data}
	}

	return []*nftables.Set{
		names(setBridge, name),
		names(setInternal, name),
		names(setICC, name, name),
		interval(setHair4, name, ip4),
		interval(setHair6, name, ip6),
		interval(setMasq4, ip4),
		interval(setMasq6, ip6),
		toward(mapPub4, ip4, ip4, proto, port),
		toward(mapPub6, ip6, ip6, proto, port),
		toward(mapPub4Any, ip4, proto, port),
		toward(mapPub6Any, ip6, proto, port),
		address(mapRun4, ip4, true, ip4, proto, port),
		address(mapRun6, ip6, true, ip6, proto, port),
		address(mapRun4Any, ip4, true, proto, port),
		address(mapRun6Any, ip6, true, proto, port),
		address(mapFull4, ip4, false, ip4),
		address(mapFull6, ip6, false, ip6),
		address(mapLeave4, ip4, false, ip4),
		address(mapLeave6, ip6, false, ip6),
		address(mapSource4, ip4, true, ip4),
		address(mapSource6, ip6, true, ip6),
		interval(setOpen4, name, ip4),
		interval(setOpen6, name, ip6),
		interval(setPing4, name, ip4),
		interval(setPing6, name, ip6),
		{Table: t, Name: setOwn4, KeyType: concat(ip4, proto, port), Concatenation: true},
		{Table: t, Name: setOwn6, KeyType: concat(ip6, proto, port), Concatenation: true},
		interval(setOwnRun4, ip4, proto, port),
		interval(setOwnRun6, ip6, proto, port),
		interval(setLimit4, ip4, proto, port),
		interval(setLimit6, ip6, proto, port),
		interval(setLimit4Any, proto, port),
		interval(setLimit6Any, proto, port),
		{Table: t, Name: setLimit4Full, KeyType: ip4},
		{Table: t, Name: setLimit6Full, KeyType: ip6},
		interval(setFrom4, ip4, proto, port, ip4),
		interval(setFrom6, ip6, proto, port, ip6),
		interval(setFrom4Any, proto, port, ip4),
		interval(setFrom6Any, proto, port, ip6),
		interval(setFrom4Full, ip4, ip4),
		interval(setFrom6Full, ip6, ip6),
	}
}

// chains returns the chains. Jump targets come first.
func chains(accepted firewall.Mark) []chain {
	return []chain{
		{name: "to_published", rules: publishedRules()},
		{name: "to_bridge_snat", rules: toBridgeSNATRules()},
		{name: "to_bridge", rules: append(marked(accepted), toBridgeRules()...)},
		{name: "from_bridge", rules: append(marked(accepted), fromBridgeRules()...)},
		{name: "raw_prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting,
			priority: nftables.ChainPriorityRaw, rules: loopbackGuards()},
		{name: "nat_prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting,
			priority: nftables.ChainPriorityNATDest, rules: [][]expr.Any{rule(toLocal(),
				verdict(expr.VerdictJump, "to_published"))}},
		{name: "nat_output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput,
			priority: nftables.ChainPriorityNATDest, rules: [][]expr.Any{rule(toLocal(),
				verdict(expr.VerdictJump, "to_published"))}},
		{name: "nat_postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting,
			priority: nftables.ChainPriorityNATSource, rules: postroutingRules()},
		{name: "forward", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward,
			priority: nftables.ChainPriorityFilter, rules: [][]expr.Any{
				rule(ifaceIn(expr.MetaKeyOIFNAME, setBridge), verdict(expr.VerdictGoto, "to_bridge")),
				rule(ifaceIn(expr.MetaKeyIIFNAME, setBridge), verdict(expr.VerdictGoto, "from_bridge")),
			}},
	}
}

// publishedRules translates destinations. Ports of one address are looked up first, then published
// addresses, then ports of all addresses. Before each lookup, packets from other than the allowed
// sources are dropped, so that they do not match a later one.
func publishedRules() [][]expr.Any {
	return [][]expr.Any{
		ipv4().restrictSources(setLimit4, setFrom4, true, true),
		ipv4().dnat(mapPub4, true),
		ipv4().dnatRange(mapRun4, true),
		ipv4().restrictSources(setLimit4Full, setFrom4Full, true, false),
		ipv4().dnatAddress(mapFull4),
		ipv4().restrictSources(setLimit4Any, setFrom4Any, false, true),
		ipv4().dnat(mapPub4Any, false),
		ipv4().dnatRange(mapRun4Any, false),
		ipv6().restrictSources(setLimit6, setFrom6, true, true),
		ipv6().dnat(mapPub6, true),
		ipv6().dnatRange(mapRun6, true),
		ipv6().restrictSources(setLimit6Full, setFrom6Full, true, false),
		ipv6().dnatAddress(mapFull6),
		ipv6().restrictSources(setLimit6Any, setFrom6Any, false, true),
		ipv6().dnat(mapPub6Any, false),
		ipv6().dnatRange(mapRun6Any, false),
	}
}

// loopbackGuards drops loopback addresses from outside. Bridges need route_localnet so that
// 127.0.0.1 works for published ports; without these rules, hosts on the LAN could connect to the
// host's loopback or forge its addresses. The kernel itself does this for ::1.
func loopbackGuards() [][]expr.Any {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	notLo := ifaceIsNot(expr.MetaKeyIIFNAME, "lo")
	return [][]expr.Any{
		rule(notLo, ipv4().within(ipv4().daddr, loopback), drop()),
		rule(notLo, ipv4().within(ipv4().saddr, loopback), drop()),
	}
}

func postroutingRules() [][]expr.Any {
	masqueraded := func(f family, set string) []expr.Any {
		return rule(f.only(), one(f.address(f.saddr, reg1)), in(set),
			ifaceNotIn(expr.MetaKeyOIFNAME, setBridge), masquerade())
	}

	translated := func(f family, set string) []expr.Any {
		return rule(ifaceNotIn(expr.MetaKeyOIFNAME, setBridge), f.only(), one(f.address(f.saddr, reg1)), f.snat(set))
	}

	return [][]expr.Any{
		rule(ifaceIn(expr.MetaKeyOIFNAME, setBridge), verdict(expr.VerdictJump, "to_bridge_snat")),
		translated(ipv4(), mapLeave4),
		translated(ipv6(), mapLeave6),
		translated(ipv4(), mapSource4),
		translated(ipv6(), mapSource6),
		masqueraded(ipv4(), setMasq4),
		masqueraded(ipv6(), setMasq6),
	}
}

// toBridgeSNATRules masquerades connections whose replies would bypass the host otherwise: those
// from the host's loopback, and those of a container to a published port of its own network.
func toBridgeSNATRules() [][]expr.Any {
	hairpin := func(f family, set string) []expr.Any {
		return rule(ct(expr.CtKeySTATUS, statusDNAT), f.only(),
			one(load(expr.MetaKeyOIFNAME, reg1)), one(f.address(f.saddr, reg2)), in(set), masquerade())
	}
	return [][]expr.Any{
		rule(ipv4().within(ipv4().saddr, netip.MustParsePrefix("127.0.0.0/8")), masquerade()),
		rule(ipv6().within(ipv6().saddr, netip.MustParsePrefix("::1/128")), masquerade()),
		hairpin(ipv4(), setHair4),
		hairpin(ipv6(), setHair6),
	}
}

// toBridgeRules filters ingress to containers. Connections with DNAT are to published ports, so
// that no rules for single ports are needed. Other new connections are dropped, unless direct
// access is configured.
func toBridgeRules() [][]expr.Any {
	return append(acceptEstablished(),
		rule([]expr.Any{load(expr.MetaKeyIIFNAME, reg1), load(expr.MetaKeyOIFNAME, reg2)}, in(setICC), accept()),
		rule(ifaceIn(expr.MetaKeyIIFNAME, setInternal), drop()),
		rule(ifaceIn(expr.MetaKeyOIFNAME, setInternal), drop()),
		rule(ipv4().only(), one(load(expr.MetaKeyOIFNAME, reg1)), one(ipv4().address(ipv4().daddr, reg2)), in(setOpen4),
			accept()),
		rule(ipv6().only(), one(load(expr.MetaKeyOIFNAME, reg1)), one(ipv6().address(ipv6().daddr, reg2)), in(setOpen6),
			accept()),
		rule(ct(expr.CtKeySTATUS, statusDNAT), accept()),
		ipv4().acceptICMP(setPing4, unix.IPPROTO_ICMP),
		ipv6().acceptICMP(setPing6, unix.IPPROTO_ICMPV6),
		ipv4().isolateBridges(setPing4),
		ipv6().isolateBridges(setPing6),
		ipv4().restrictSources(setLimit4, setFrom4, true, true),
		ipv6().restrictSources(setLimit6, setFrom6, true, true),
		ipv4().acceptDirect(setOwn4),
		ipv6().acceptDirect(setOwn6),
		ipv4().acceptDirect(setOwnRun4),
		ipv6().acceptDirect(setOwnRun6),
		drop(),
	)
}

// marked accepts all packets with the configured mark.
func marked(m firewall.Mark) [][]expr.Any {
	if m.Mask == 0 {
		return nil
	}
	native := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	return [][]expr.Any{rule([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(m.Mask), Xor: native(0)},
		equal(native(m.Value)),
	}, accept())}
}

func fromBridgeRules() [][]expr.Any {
	return append(acceptEstablished(),
		rule(ifaceIn(expr.MetaKeyIIFNAME, setInternal), drop()),
		accept(),
	)
}

func acceptEstablished() [][]expr.Any {
	return [][]expr.Any{
		rule(ct(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept()),
		rule(ct(expr.CtKeySTATE, expr.CtStateBitINVALID), drop()),
	}
}
