package egress

import "net/netip"

// MetadataAddresses returns the addresses of metadata services. They are denied unless a rule
// "metadata" or "all" allows them.
func MetadataAddresses() []netip.Prefix {
	return prefixes("169.254.169.254/32", "fd00:ec2::254/128")
}

// PrivateRanges returns the private and link-local ranges: the addresses of "lan".
func PrivateRanges() []netip.Prefix {
	return prefixes("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"fc00::/7", "fe80::/10")
}

// SpecialRanges returns the ranges that belong neither to "internet" nor to "lan": loopback,
// multicast, broadcast, and addresses that are translated.
func SpecialRanges() []netip.Prefix {
	return prefixes("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "64:ff9b:1::/48", "ff00::/8")
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
