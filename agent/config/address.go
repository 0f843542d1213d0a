package config

import "net/netip"

// isFamily reports whether addr belongs to IP version 4 or 6. IPv4-mapped IPv6 addresses belong to
// neither.
func isFamily(version int, addr netip.Addr) bool {
	return version == 4 && addr.Is4() || version == 6 && addr.Is6() && !addr.Is4In6() && addr.Zone() == ""
}

// example returns an address of the family, for hints.
func example(version int) string {
	return map[int]string{4: "192.168.10.1", 6: "fd00:10::1"}[version]
}

func length(version int) string { return map[int]string{4: "/24", 6: "/64"}[version] }

// bridgeAddress parses bip and bip6: a host address with a prefix length.
func bridgeAddress(version int, field func(*Config) *netip.Prefix) func(*Config, string) error {
	want := "write an address with a prefix length, as in " + example(version) + length(version)
	return func(c *Config, text string) error {
		p, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil && isFamily(version, addr) {
			return bad("write "+text+length(version)+", or the prefix length of your network",
				"%q has no prefix length", text)
		}
		switch {
		case err != nil || !isFamily(version, p.Addr()):
			return bad(want, "%q is not an IPv%d address with a prefix length", text, version)
		case p.Bits() == 0 || p.Bits() > p.Addr().BitLen()-2:
			return bad(want, "the subnet of %s is too small for containers", text)
		case !usable(p.Addr()):
			return bad(want, "%s is not a valid bridge address", text)
		case p.Masked().Addr() == p.Addr():
			return bad("write a host address, as in "+p.Addr().Next().String()+"/"+bits(p),
				"%s is a network address", text)
		case version == 4 && p.Addr() == last(p):
			return bad(want, "%s is a broadcast address", text)
		}
		*field(c) = p
		return nil
	}
}

// subnet parses fixed-cidr and fixed-cidr-v6. Host bits are cleared, as in Docker.
func subnet(version int, field func(*Config) *netip.Prefix) func(*Config, string) error {
	return func(c *Config, text string) error {
		p, err := netip.ParsePrefix(text)
		if err != nil || !isFamily(version, p.Addr()) || p.Bits() == 0 || !usable(p.Addr()) {
			return bad("write a subnet, as in "+
				""+netip.MustParsePrefix(example(version)+length(version)).Masked().String(),
				"%q is not a valid IPv%d subnet for containers", text, version)
		}
		*field(c) = p.Masked()
		return nil
	}
}

// address parses default-gateway and default-gateway-v6.
func address(version int, field func(*Config) *netip.Addr) func(*Config, string) error {
	return func(c *Config, text string) error {
		addr, err := netip.ParseAddr(text)
		if err != nil || !isFamily(version, addr) || !usable(addr) {
			return bad("write an address, as in "+example(version), "%q is not a valid IPv%d host address", text,
				version)
		}
		*field(c) = addr
		return nil
	}
}

func usable(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// last returns the highest address of a prefix, which is the broadcast address in IPv4.
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
