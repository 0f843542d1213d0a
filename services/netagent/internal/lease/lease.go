// Package lease is the client side of DHCP (RFC 2131), DHCPv6 (RFC 8415) and SLAAC (RFC 4862)
// leases.
// It holds what the three have in common: the lease, its timers and the client state machine. It
// performs no I/O and takes the time as a parameter. Package dhcp sends and receives the messages.
package lease

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"time"
)

// The protocols that grant an address.
const (
	ByDHCP   = "dhcp"
	ByDHCPv6 = "dhcpv6"
	BySLAAC  = "slaac"
)

// Terms is a granted lease.
type Terms struct {
	Protocol string // ByDHCP, ByDHCPv6 or BySLAAC
	Address  netip.Prefix
	Router   netip.Addr   // gateway of the default route; zero: no default route
	Servers  []netip.Addr // name servers
	MTU      int          // 0: not announced
	Search   []string     `json:",omitempty"` // search domains
	Routes   []Route      `json:",omitempty"` // in addition to the default route

	Server    []byte           `json:",omitempty"` // the server's identifier: its IPv4 address, or its DUID in DHCPv6
	ServerMAC net.HardwareAddr `json:",omitempty"` // source MAC address of its responses
	Client    netip.Addr       // source of IPv6 requests: the interface's link-local address

	Granted time.Time
	Renew   time.Time // T1: renew with the same server from here on; zero: never
	Rebind  time.Time // T2: rebind with any server from here on; zero: never
	Expire  time.Time // end of validity; zero: never

	GrantedAt Clock `json:",omitzero"` // boot time of Granted; zero: not known
}

// forever is the lifetime of an infinite lease.
const forever = 1<<32 - 1

// For sets the times of a lease of some seconds. t1 and t2 are in seconds too. If they are zero or
// inconsistent, T1 is half and T2 seven eighths of the lifetime.
func (t Terms) For(now time.Time, seconds, t1, t2 uint32) Terms {
	t.Granted, t.Renew, t.Rebind, t.Expire = now, time.Time{}, time.Time{}, time.Time{}
	if seconds == forever {
		return t
	}

	if t2 == 0 || t2 > seconds {
		t2 = uint32(uint64(seconds) * 7 / 8)
	}

	if t1 == 0 || t1 > t2 {
		t1 = min(seconds/2, t2)
	}

	after := func(n uint32) time.Time { return now.Add(time.Duration(n) * time.Second) }
	t.Renew, t.Rebind, t.Expire = after(t1), after(t2), after(seconds)
	return t
}

// Expired reports whether the lease has expired.
func (t Terms) Expired(now time.Time) bool { return !t.Expire.IsZero() && !now.Before(t.Expire) }

// ServerAddr returns the IPv4 address of the DHCP server; zero for the other protocols.
func (t Terms) ServerAddr() netip.Addr {
	if t.Protocol == ByDHCP {
		a, _ := netip.AddrFromSlice(t.Server)
		return a
	}
	return netip.Addr{}
}

// SameConfig reports whether two leases configure an interface identically. Times and server can
// differ.
func (t Terms) SameConfig(o Terms) bool {
	return t.Address == o.Address && t.Router == o.Router && t.MTU == o.MTU && slices.Equal(t.Servers, o.Servers) &&
		slices.Equal(t.Search, o.Search) && slices.Equal(t.Routes, o.Routes)
}

// Identity identifies a container to DHCP servers. It is stable while container and network exist.
type Identity struct {
	MAC      net.HardwareAddr
	IAID     uint32
	DUID     []byte // DUID-UUID (RFC 6355)
	Hostname string // empty: not sent
}

const (
	duidUUID = 4
	uuidLen  = 16
	// maxLabel is the maximum length of a DNS label.
	maxLabel = 63
)

// IdentityOf returns the identity of an owner on a network. Both ids are hexadecimal. The host name
// is derived from name.
func IdentityOf(owner, networkID, name string, mac net.HardwareAddr) Identity {
	i := Identity{MAC: mac, DUID: []byte{0, duidUUID}, Hostname: hostname(name)}
	uuid := make([]byte, uuidLen)
	_, _ = hex.Decode(uuid, []byte(owner[:2*uuidLen])) // ids are digits
	i.DUID = append(i.DUID, uuid...)
	iaid := make([]byte, 4)
	_, _ = hex.Decode(iaid, []byte(networkID[:8]))
	i.IAID = binary.BigEndian.Uint32(iaid)
	return i
}

// ClientID returns the DHCPv4 client identifier. It matches DHCPv6, so that servers can relate both
// leases (RFC 4361).
func (i Identity) ClientID() []byte {
	return append(binary.BigEndian.AppendUint32([]byte{255}, i.IAID), i.DUID...)
}

// hostname converts a container name to a DNS label.
func hostname(name string) string {
	out := make([]byte, 0, len(name))
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		default:
			c = '-'
		}
		out = append(out, c)
	}

	out = out[:min(len(out), maxLabel)]
	return string(bytes.Trim(out, "-"))
}

// EUI64Addr combines a /64 prefix with the interface identifier of a link-local address. ok is
// false for other prefix lengths. See RFC 4291, appendix A.
func EUI64Addr(p netip.Prefix, linkLocal netip.Addr) (netip.Prefix, bool) {
	if p.Bits() != 64 || !p.Addr().Is6() || !linkLocal.Is6() {
		return netip.Prefix{}, false
	}
	a, l := p.Addr().As16(), linkLocal.As16()
	copy(a[8:], l[8:])
	return netip.PrefixFrom(netip.AddrFrom16(a), p.Bits()), true
}
