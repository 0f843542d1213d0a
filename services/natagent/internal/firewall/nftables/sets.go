package nftables

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// sets returns the sets and maps with their comments, in the order of the listing. Those without
// intervals are hashes with constant time per element. Interval sets hold only subnets and port
// ranges, of which there are few.
func sets(t *nftables.Table) []*nftables.Set {
	name := nftables.TypeIFName
	all := []*nftables.Set{
		set(setBridges, "bridges of all networks", name),
		set(setInternal, "bridges of internal networks", name),
		set(setICC, "from . to: bridges with ICC, trusted interfaces", name, name),
		set(setTunnels, "devices to the other hosts of the fleet", name),
		set(setEncryptedTunnels, "those of encrypted networks", name),
		set(setVNIs, "UDP port . VNI and a zero byte of the fleet", nftables.TypeInetService, nftables.TypeIPAddr),
	}
	for _, f := range []family{ipv4(), ipv6()} {
		all = append(all, f.networkSets()...)
		all = append(all, f.bindingSets()...)
		all = append(all, f.sourceSets()...)
		all = append(all, f.tunnelSets()...)
	}
	for _, s := range all {
		s.Table = t
	}
	return all
}

// networkSets returns the sets of networks.
func (f family) networkSets() []*nftables.Set {
	name, ip := nftables.TypeIFName, f.address
	return []*nftables.Set{
		interval(set(f.hairpin, "bridge . its subnet", name, ip)),
		interval(set(f.gateway, "subnet of a network . the same, with its gateway", ip, ip)),
		interval(set(f.masquerade, "subnets with masquerade", ip)),
		interval(toward(set(f.snatSubnet, "subnet -> SNAT address", ip), ip)),
		interval(set(f.unprotected, "bridge . subnet of gateway mode nat-unprotected", name, ip)),
		interval(set(f.icmp, "bridge . routed subnet", name, ip)),
	}
}

// bindingSets returns the sets of bindings.
func (f family) bindingSets() []*nftables.Set {
	ip, proto, port := f.address, nftables.TypeInetProto, nftables.TypeInetService
	return []*nftables.Set{
		toward(set(f.dnat, "host address . protocol . port -> container . port", ip, proto, port), ip, port),
		toward(set(f.dnatAny, "protocol . port -> container . port", proto, port), ip, port),
		interval(toward(set(f.dnatRange, "host address . protocol . ports -> container", ip, proto, port), ip)),
		interval(toward(set(f.dnatRangeAny, "protocol . ports -> container", proto, port), ip)),
		toward(set(f.dnatAddress, "published address -> container", ip), ip),
		toward(set(f.snatContainer, "container -> its published address", ip), ip),
		set(f.direct, "container . protocol . port with direct access", ip, proto, port),
		interval(set(f.directRange, "container . protocol . ports with direct access", ip, proto, port)),
	}
}

// tunnelSets returns the sets of the tunnel.
func (f family) tunnelSets() []*nftables.Set {
	name, ip := nftables.TypeIFName, f.address
	return []*nftables.Set{
		interval(set(f.tunnel, "bridge . subnet of networks that span hosts", name, ip)),
		interval(set(f.encrypted, "bridge . subnet of those that are encrypted", name, ip)),
		toward(set(f.mss, "device to other hosts -> MSS", name), nftables.TypeInetService),
		interval(set(f.peerTo4, "other host . block of its containers", ip, nftables.TypeIPAddr)),
		interval(set(f.peerTo6, "other host . block of its containers", ip, nftables.TypeIP6Addr)),
	}
}

// sourceSets returns the sets of allowed sources.
func (f family) sourceSets() []*nftables.Set {
	ip, proto, port := f.address, nftables.TypeInetProto, nftables.TypeInetService
	return []*nftables.Set{
		interval(set(f.restricted, "address . protocol . ports with allowed sources", ip, proto, port)),
		interval(set(f.allowed, "address . protocol . ports . allowed source", ip, proto, port, ip)),
		interval(set(f.restrictedAny, "protocol . ports with allowed sources", proto, port)),
		interval(set(f.allowedAny, "protocol . ports . allowed source", proto, port, ip)),
		set(f.restrictedAddress, "published addresses with allowed sources", ip),
		interval(set(f.allowedAddress, "published address . allowed source", ip, ip)),
	}
}

// set returns a hash set.
func set(name, comment string, key ...nftables.SetDatatype) *nftables.Set {
	s := &nftables.Set{Name: name, Comment: comment, KeyType: concat(key...), Concatenation: len(key) > 1}
	if last := key[len(key)-1]; last == nftables.TypeIFName {
		s.KeyByteOrder = binaryutil.NativeEndian // otherwise nft prints names as ""
	}
	return s
}

// interval makes s a set of intervals.
func interval(s *nftables.Set) *nftables.Set {
	s.Interval = true
	return s
}

// toward makes s a map to values of the given types.
func toward(s *nftables.Set, value ...nftables.SetDatatype) *nftables.Set {
	s.IsMap, s.DataType = true, concat(value...)
	return s
}

// concat returns the type of concatenated values.
func concat(types ...nftables.SetDatatype) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0]
	}
	return nftables.MustConcatSetType(types...) // panics for more than five types, which tests would detect
}
