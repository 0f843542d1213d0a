package preflight

import (
	"encoding/hex"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// routesIn returns the destinations in a file of routes, sorted, without default routes and those that do not
// leave the host.
func routesIn(text string, parse func(line string) (netip.Prefix, bool)) []netip.Prefix {
	var all []netip.Prefix
	for line := range strings.Lines(text) {
		p, ok := parse(line)
		if ok && p.Bits() > 0 && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// route4 parses a line of /proc/net/route: interface, destination, gateway, flags, RefCnt, use, metric, mask.
func route4(line string) (netip.Prefix, bool) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return netip.Prefix{}, false
	}
	to, err := strconv.ParseUint(f[1], 16, 32)
	mask, merr := strconv.ParseUint(f[7], 16, 32)
	if err != nil || merr != nil {
		return netip.Prefix{}, false // the header
	}
	a := netip.AddrFrom4([4]byte{byte(to), byte(to >> 8), byte(to >> 16), byte(to >> 24)})
	return netip.PrefixFrom(a, bits.OnesCount32(uint32(mask))), true
}

// The flag of a route to an address of this host.
const localRoute = 1 << 31

// route6 parses a line of /proc/net/ipv6_route: destination, length, source, length, next hop, metric, RefCnt,
// use, flags, interface.
func route6(line string) (netip.Prefix, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || len(f[0]) != 32 || f[9] == "lo" {
		return netip.Prefix{}, false
	}
	raw, err := hex.DecodeString(f[0])
	length, lerr := strconv.ParseUint(f[1], 16, 8)
	flags, ferr := strconv.ParseUint(f[8], 16, 32)
	a, ok := netip.AddrFromSlice(raw)
	if err != nil || lerr != nil || ferr != nil || !ok || flags&localRoute != 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, int(length)), true
}

// portTaken reports whether there is a UDP socket on a port, by /proc/net/udp. The sockets of the kernel are in that
// file too, and look the same.
func portTaken(text string, port uint16) bool {
	suffix := ":" + strings.ToUpper(strconv.FormatUint(uint64(port)|1<<16, 16)[1:])
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], suffix) {
			return true
		}
	}
	return false
}
