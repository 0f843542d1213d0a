package config

import "net/netip"

// isFamily tells whether an address is of IP version 4 or 6. An IPv4 address in IPv6 clothes is neither.
func isFamily(version int, addr netip.Addr) bool {
	return version == 4 && addr.Is4() || version == 6 && addr.Is6() && !addr.Is4In6() && addr.Zone() == ""
}

// example is an address of the family, for hints.
func example(version int) string {
	return map[int]string{4: "192.168.10.1", 6: "fd00:10::1"}[version]
}

func length(version int) string { return map[int]string{4: "/24", 6: "/64"}[version] }

// bridgeAddress reads bip and bip6: a host's address with the length of its network's prefix.
func bridgeAddress(version int, field func(*Config) *netip.Prefix) func(*Config, string) error {
	want := "write an address and its network's length, as in " + example(version) + length(version)
	return func(c *Config, text string) error {
		p, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil && isFamily(version, addr) {
			return bad("write "+text+length(version)+" or whichever length your network has", "%q has no prefix length", text)
		}
		switch {
		case err != nil || !isFamily(version, p.Addr()):
			return bad(want, "%q is not an IPv%d address with a prefix length", text, version)
		case p.Bits() == 0 || p.Bits() > p.Addr().BitLen()-2:
			return bad(want, "the network of %s has no room for containers", text)
		case !usable(p.Addr()):
			return bad(want, "%s cannot be a bridge's address", text)
		case p.Masked().Addr() == p.Addr():
			return bad("the bridge needs a host's address in it, as in "+p.Addr().Next().String()+"/"+bits(p), "%s is the address of the network itself", text)
		case version == 4 && p.Addr() == last(p):
			return bad(want, "%s is the network's broadcast address", text)
		}
		*field(c) = p
		return nil
	}
}

// subnet reads fixed-cidr and fixed-cidr-v6. Host bits are cut off, as Docker does.
func subnet(version int, field func(*Config) *netip.Prefix) func(*Config, string) error {
	return func(c *Config, text string) error {
		p, err := netip.ParsePrefix(text)
		if err != nil || !isFamily(version, p.Addr()) || p.Bits() == 0 || !usable(p.Addr()) {
			return bad("write a subnet, as in "+netip.MustParsePrefix(example(version)+length(version)).Masked().String(),
				"%q is not an IPv%d subnet for containers", text, version)
		}
		*field(c) = p.Masked()
		return nil
	}
}

// address reads default-gateway and default-gateway-v6.
func address(version int, field func(*Config) *netip.Addr) func(*Config, string) error {
	return func(c *Config, text string) error {
		addr, err := netip.ParseAddr(text)
		if err != nil || !isFamily(version, addr) || !usable(addr) {
			return bad("write an address, as in "+example(version), "%q is not an IPv%d address of a host", text, version)
		}
		*field(c) = addr
		return nil
	}
}

func usable(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// last is the highest address of a prefix, the broadcast address in IPv4.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func bits(p netip.Prefix) string {
	s := p.String()
	return s[len(p.Addr().String())+1:]
}
