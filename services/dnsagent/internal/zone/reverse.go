package zone

import (
	"net/netip"
	"strconv"
	"strings"
)

// Domains of PTR records.
const (
	reverse4 = ".in-addr.arpa"
	reverse6 = ".ip6.arpa"
)

// ParseReverse returns the address of a PTR name such as "2.0.17.172.in-addr.arpa".
func ParseReverse(name string) (netip.Addr, bool) {
	name = lowerASCII(name)
	if rest, ok := strings.CutSuffix(name, reverse4); ok {
		return parse4(strings.Split(rest, "."))
	}
	if rest, ok := strings.CutSuffix(name, reverse6); ok {
		return parse6(strings.Split(rest, "."))
	}
	return netip.Addr{}, false
}

func parse4(labels []string) (netip.Addr, bool) {
	var b [4]byte
	if len(labels) != len(b) {
		return netip.Addr{}, false
	}
	for i, label := range labels {
		n, err := strconv.ParseUint(label, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != label {
			return netip.Addr{}, false
		}
		b[len(b)-1-i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

func parse6(labels []string) (netip.Addr, bool) {
	var b [16]byte
	if len(labels) != 2*len(b) {
		return netip.Addr{}, false
	}

	for i, label := range labels {
		n, err := strconv.ParseUint(label, 16, 4)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		at := len(labels) - 1 - i
		b[at/2] |= byte(n) << (4 * (1 - at%2))
	}

	return netip.AddrFrom16(b), true
}
