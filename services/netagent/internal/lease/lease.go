// Package lease is the client's side of addresses that a LAN gives for a time: by DHCP (RFC 2131), by DHCPv6 (RFC 8415), and by router
// advertisements (RFC 4862). It is the part that the three have in common: what was granted, for how long, and what is to be done when.
// It is pure: it neither sends nor waits, and is told what time it is.
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

// How an address was got.
const (
	ByDHCP   = "dhcp"
	ByDHCPv6 = "dhcpv6"
	BySLAAC  = "slaac"
)

// Terms are what was granted.
type Terms struct {
	Protocol string // how
	Address  netip.Prefix
	Router   netip.Addr   // where the default route leads; not valid without one
	Servers  []netip.Addr // of names
	MTU      int          // 0: not told
	Search   []string     `json:",omitempty"` // domains in which names are looked for
	Routes   []Route      `json:",omitempty"` // beside the default route

	Server    []byte           `json:",omitempty"` // how the server is called: its address, or of DHCPv6 its DUID
	ServerMAC net.HardwareAddr `json:",omitempty"` // where its answers come from
	Client    netip.Addr       // from where it was asked for, of IPv6: the interface's link-local address

	Granted time.Time
	Renew   time.Time // T1: from then on its server is asked for more time; zero: never
	Rebind  time.Time // T2: from then on any server is
	Expire  time.Time // from then on the address is not ours; zero: never
}

// forever is how servers say that a lease does not end.
const forever = 1<<32 - 1

// For fills in the times of something that was granted for some seconds, with T1 and T2 in seconds too; those that are zero or make no
// sense are half of the time and seven eighths of it.
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

// Expired tells whether the address is not ours any more.
func (t Terms) Expired(now time.Time) bool { return !t.Expire.IsZero() && !now.Before(t.Expire) }

// ServerAddr is the server's address; not valid where it is not called by it.
func (t Terms) ServerAddr() netip.Addr {
	if t.Protocol == ByDHCP {
		a, _ := netip.AddrFromSlice(t.Server)
		return a
	}
	return netip.Addr{}
}

// SameConfig tells whether two terms mean the same for whoever has the address: only the times, and the server, may differ.
func (t Terms) SameConfig(o Terms) bool {
	return t.Address == o.Address && t.Router == o.Router && t.MTU == o.MTU && slices.Equal(t.Servers, o.Servers) &&
		slices.Equal(t.Search, o.Search) && slices.Equal(t.Routes, o.Routes)
}

// Identity is how a container is known to servers. It stays, as long as there is the container and the network.
type Identity struct {
	MAC      net.HardwareAddr
	IAID     uint32
	DUID     []byte // RFC 6355: made of a UUID
	Hostname string // empty: none is told
}

const (
	duidUUID = 4
	uuidLen  = 16
	// maxLabel is how long one part of a name in DNS may be.
	maxLabel = 63
)

// IdentityOf makes the identity of an owner on a network, both ids in hexadecimal digits, with the first part of a name as host name.
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

// ClientID is the identity as DHCP for IPv4 has it: the same as in DHCPv6, so that servers know that both are one client's (RFC 4361).
func (i Identity) ClientID() []byte {
	return append(binary.BigEndian.AppendUint32([]byte{255}, i.IAID), i.DUID...)
}

// hostname makes a label of DNS out of a container's name.
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

// EUI64Addr makes the address that a host with a hardware address gives itself in a prefix (RFC 4291, appendix A); the prefix must have
// 64 bits.
func EUI64Addr(p netip.Prefix, linkLocal netip.Addr) (netip.Prefix, bool) {
	if p.Bits() != 64 || !p.Addr().Is6() || !linkLocal.Is6() {
		return netip.Prefix{}, false
	}
	a, l := p.Addr().As16(), linkLocal.As16()
	copy(a[8:], l[8:])
	return netip.PrefixFrom(netip.AddrFrom16(a), p.Bits()), true
}
