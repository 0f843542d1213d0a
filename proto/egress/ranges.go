package egress

import "net/netip"

// MetadataAddresses returns the addresses of metadata services. They are denied unless a rule
// "metadata" or "all" allows them.
func MetadataAddresses() []netip.Prefix {
	return withTranslated("169.254.169.254/32", "fd00:ec2::254/128")
}

// PrivateRanges returns the private and link-local ranges: the addresses of "lan".
func PrivateRanges() []netip.Prefix {
	return withTranslated("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"fc00::/7", "fe80::/9")
}

// SpecialRanges returns the ranges that belong neither to "internet" nor to "lan": loopback,
// multicast, broadcast, and addresses that are translated.
func SpecialRanges() []netip.Prefix {
	return withTranslated("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/96", "::ffff:0:0/96", "64:ff9b:1::/48",
		"ff00::/8")
}

// withTranslated returns prefixes, and for those of IPv4 also the IPv6 addresses that gateways translate to them: by
// NAT64 (RFC 6052) and 6to4 (RFC 3056).
func withTranslated(texts ...string) []netip.Prefix {
	all := prefixes(texts...)
	for _, p := range all[:len(all):len(all)] {
		if !p.Addr().Is4() {
			continue
		}
		a := p.Addr().As4()
		nat64, sixToFour := [16]byte{0, 0x64, 0xff, 0x9b}, [16]byte{0x20, 0x02}
		copy(nat64[12:], a[:])
		copy(sixToFour[2:], a[:])
		all = append(all, netip.PrefixFrom(netip.AddrFrom16(nat64), 96+p.Bits()),
			netip.PrefixFrom(netip.AddrFrom16(sixToFour), 16+p.Bits()))
	}
	return all
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// IsPublic reports whether an address belongs to "internet".
func IsPublic(a netip.Addr) bool {
	return !contains(PrivateRanges(), a) && !contains(SpecialRanges(), a)
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
