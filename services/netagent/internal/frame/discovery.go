package frame

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// The messages and options of IPv6 neighbour discovery (RFC 4861, 4).
const (
	routerSolicitation     = 133
	routerAdvertisement    = 134
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136

	optSourceMAC = 1
	optTargetMAC = 2
	optPrefix    = 3
	optMTU       = 5
	optServers   = 25 // RFC 8106
	optSearch    = 31 // RFC 8106
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// icmp6 encodes a neighbour discovery message and fills in its checksum.
func icmp6(mac, fromMAC net.HardwareAddr, from, to netip.Addr, message []byte) []byte {
	binary.BigEndian.PutUint16(message[2:], checksum(pseudoHeader(from, to, protoICMPv6, len(message)), message))
	return ethernet(mac, fromMAC, TypeIPv6, append(header6(from, to, protoICMPv6, ndHopLimit, len(message)),
		message...))
}

func header6(from, to netip.Addr, next, hops byte, length int) []byte {
	out := append([]byte{0x60, 0, 0, 0}, byte(length>>8), byte(length), next, hops)
	return append(append(out, from.AsSlice()...), to.AsSlice()...)
}

// solicit returns a DAD probe (RFC 4862, 5.4.2).
func solicit(mac net.HardwareAddr, addr netip.Addr) []byte {
	group := solicitedNode(addr)
	message := append([]byte{neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0}, addr.AsSlice()...)
	return icmp6(multicastMAC(group), mac, netip.IPv6Unspecified(), group, message)
}

// advertise returns an unsolicited neighbour advertisement with the override flag.
func advertise(mac net.HardwareAddr, addr netip.Addr) []byte {
	const override = 0x20
	message := append([]byte{neighbourAdvertisement, 0, 0, 0, override, 0, 0, 0}, addr.AsSlice()...)
	message = append(append(message, optTargetMAC, 1), mac...)
	return icmp6(multicastMAC(allNodes), mac, addr, allNodes, message)
}

// SolicitRouter returns a router solicitation.
func SolicitRouter(mac net.HardwareAddr, from netip.Addr) []byte {
	message := append([]byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0, optSourceMAC, 1}, mac...)
	return icmp6(multicastMAC(allRouters), mac, from, allRouters, message)
}

// read6 decodes a neighbour discovery message that was sent on this link.
func read6(data []byte) (mac net.HardwareAddr, from netip.Addr, message []byte, ok bool) {
	mac, kind, b, ok := parseEthernet(data)
	if !ok || kind != TypeIPv6 || len(b) < ip6Len || b[6] != protoICMPv6 || b[7] != ndHopLimit {
		return nil, from, nil, false
	}

	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < 8 || length > len(b)-ip6Len {
		return nil, from, nil, false
	}

	from, message = netip.AddrFrom16([16]byte(b[8:24])), b[ip6Len:ip6Len+length]
	to := netip.AddrFrom16([16]byte(b[24:40]))
	return mac, from, message, checksum(pseudoHeader(from, to, protoICMPv6, length), message) == 0
}

// claimant6 returns the MAC address of a host that advertises or probes for addr.
func claimant6(data []byte, addr netip.Addr) (net.HardwareAddr, bool) {
	mac, from, m, ok := read6(data)
	if !ok || len(m) < 24 || netip.AddrFrom16([16]byte(m[8:24])) != addr {
		return nil, false
	}
	return bytes.Clone(mac), m[0] == neighbourAdvertisement || m[0] == neighbourSolicitation && from.IsUnspecified()
}

// Router is a decoded router advertisement.
type Router struct {
	Addr     netip.Addr    // link-local address of the router
	Lifetime time.Duration // as a default router; 0: not a default router
	Managed  bool          // DHCPv6 assigns addresses
	MTU      int           // 0: not announced
	Prefixes []Prefix
	Servers  []netip.Addr // name servers
	Search   []string     // search domains, not validated
}

// Prefix is an advertised prefix.
type Prefix struct {
	Prefix           netip.Prefix
	OnLink           bool // its addresses are on the link
	Autonomous       bool // hosts can derive addresses from it (SLAAC)
	Valid, Preferred time.Duration
}

// ReadRouter decodes a router advertisement; ok is false if it is not valid.
func ReadRouter(data []byte) (Router, bool) {
	_, from, m, ok := read6(data)
	if !ok || m[0] != routerAdvertisement || len(m) < 16 || !from.IsLinkLocalUnicast() {
		return Router{}, false
	}

	r := Router{Addr: from, Managed: m[5]&0x80 != 0,
		Lifetime: time.Duration(binary.BigEndian.Uint16(m[6:])) * time.Second}
	for opts := m[16:]; len(opts) > 0; {
		if len(opts) < 2 || opts[1] == 0 || len(opts) < 8*int(opts[1]) {
			return Router{}, false
		}
		r.option(opts[:8*int(opts[1])])
		opts = opts[8*int(opts[1]):]
	}

	return r, true
}

func (r *Router) option(b []byte) {
	seconds := func(at int) time.Duration { return time.Duration(binary.BigEndian.Uint32(b[at:])) * time.Second }
	switch {
	case b[0] == optMTU && len(b) == 8:
		r.MTU = int(min(binary.BigEndian.Uint32(b[4:]), 1<<16))
	case b[0] == optPrefix && len(b) == 32 && b[2] <= 128:
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte(b[16:32])), int(b[2])).Masked()
		if !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			r.Prefixes = append(r.Prefixes, Prefix{Prefix: p, OnLink: b[3]&0x80 != 0, Autonomous: b[3]&0x40 != 0,
				Valid: seconds(4), Preferred: seconds(8)})
		}
	case b[0] == optServers && len(b) >= 24 && seconds(4) > 0:
		for at := 8; at+16 <= len(b); at += 16 {
			r.Servers = append(r.Servers, netip.AddrFrom16([16]byte(b[at:at+16])))
		}
	case b[0] == optSearch && len(b) >= 16 && seconds(4) > 0:
		r.Search = append(r.Search, lease.Names(b[8:])...)
	}
}
