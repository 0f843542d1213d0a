package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Ports of DHCP.
const (
	ServerPort4 = 67
	ClientPort4 = 68
)

// leastMTU is the smallest accepted value of option 26 (RFC 2132, 5.1 allows 68).
const leastMTU = 576

// RunV4 acquires or renews an IPv4 address by DHCP, until an event occurs or the limit is reached.
func RunV4(ctx context.Context, w FrameConn, who lease.Identity, m *lease.Client, limit time.Time) (lease.Event,
	error) {
	return exchange(ctx, w, &v4Exchange{who: who, xid: rand.Uint32()}, m, limit)
}

// Decline4 returns the frame that reports a granted address as in use by another host.
func Decline4(who lease.Identity, t lease.Terms) []byte {
	f := &v4Exchange{who: who, xid: rand.Uint32()}
	return f.broadcast(f.message(dhcpv4.MessageTypeDecline, requested(t.Address.Addr()), server(t.Server)))
}

// v4Exchange is a DHCP exchange.
type v4Exchange struct {
	who lease.Identity
	xid uint32
}

func (f *v4Exchange) request(m *lease.Client) []byte {
	t := m.Terms
	switch m.State {
	case lease.Requesting:
		return f.broadcast(f.message(dhcpv4.MessageTypeRequest, setBroadcastFlag, requested(t.Address.Addr()),
			server(t.Server), f.requestedOptions()))
	case lease.Rebooting:
		return f.broadcast(f.message(dhcpv4.MessageTypeRequest, setBroadcastFlag, requested(t.Address.Addr()),
			f.requestedOptions()))
	case lease.Renewing:
		return f.unicast(t, f.message(dhcpv4.MessageTypeRequest, from(t.Address.Addr()), f.requestedOptions()))
	case lease.Rebinding:
		msg := f.message(dhcpv4.MessageTypeRequest, from(t.Address.Addr()), f.requestedOptions())
		return frame.UDP{FromMAC: f.who.MAC, From: netip.AddrPortFrom(t.Address.Addr(), ClientPort4),
			To: broadcastAddr(), Payload: msg}.Frame()
	}

	return f.broadcast(f.message(dhcpv4.MessageTypeDiscover, setBroadcastFlag, requested(m.Preferred),
		f.requestedOptions()))
}

// message encodes a client message with the client's identity.
func (f *v4Exchange) message(kind dhcpv4.MessageType, with ...dhcpv4.Modifier) []byte {
	m := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: f.who.MAC, Options: dhcpv4.Options{},
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero}
	binary.BigEndian.PutUint32(m.TransactionID[:], f.xid)
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptClientIdentifier(f.who.ClientID()))
	for _, w := range with {
		w(m)
	}
	return m.ToBytes()
}

// setBroadcastFlag requests broadcast replies. Before an interface has its address, it receives no
// unicast ones if it shares its MAC with other interfaces.
func setBroadcastFlag(m *dhcpv4.DHCPv4) { m.SetBroadcast() }

func requested(a netip.Addr) dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) {
		if a.IsValid() {
			m.UpdateOption(dhcpv4.OptRequestedIPAddress(a.AsSlice()))
		}
	}
}

func from(a netip.Addr) dhcpv4.Modifier { return dhcpv4.WithClientIP(a.AsSlice()) }

func server(id []byte) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(id)) }

// requestedOptions returns the parameter request list, maximum message size and host name.
func (f *v4Exchange) requestedOptions() dhcpv4.Modifier {
	const most = 1472 // payload of one datagram on Ethernet
	return func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute,
			dhcpv4.OptionRouter, optMSRoutes, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName,
			dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionIPAddressLeaseTime,
			dhcpv4.OptionServerIdentifier, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue))
		m.UpdateOption(dhcpv4.OptMaxMessageSize(most))
		if f.who.Hostname != "" {
			m.UpdateOption(dhcpv4.OptHostName(f.who.Hostname))
		}
	}
}

func broadcastAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), ServerPort4)
}

func (f *v4Exchange) broadcast(payload []byte) []byte {
	return frame.UDP{FromMAC: f.who.MAC, From: netip.AddrPortFrom(netip.IPv4Unspecified(), ClientPort4),
		To: broadcastAddr(), Payload: payload}.Frame()
}

// unicast encodes a frame to the lease's server, with the MAC that its replies came from.
func (f *v4Exchange) unicast(t lease.Terms, payload []byte) []byte {
	to, _ := netip.AddrFromSlice(t.Server)
	return frame.UDP{FromMAC: f.who.MAC, ToMAC: t.ServerMAC, From: netip.AddrPortFrom(t.Address.Addr(), ClientPort4),
		To: netip.AddrPortFrom(to, ServerPort4), Payload: payload}.Frame()
}

func (f *v4Exchange) answer(data []byte, unsummed bool, _ *lease.Client) (lease.Reply, bool) {
	var none lease.Reply
	u, ok := frame.ReadUDP(data, unsummed)
	if !ok || u.To.Port() != ClientPort4 || u.From.Port() != ServerPort4 {
		return none, false
	}

	msg, err := dhcpv4.FromBytes(u.Payload)
	if err != nil || msg.OpCode != dhcpv4.OpcodeBootReply ||
		binary.BigEndian.Uint32(msg.TransactionID[:]) != f.xid || !bytes.Equal(msg.ClientHWAddr, f.who.MAC) {
		return none, false
	}

	if id := msg.Options.Get(dhcpv4.OptionClientIdentifier); id != nil && !bytes.Equal(id, f.who.ClientID()) {
		return none, false
	}

	switch msg.MessageType() {
	case dhcpv4.MessageTypeNak:
		return lease.Reply{Kind: lease.Nak}, true
	case dhcpv4.MessageTypeOffer:
		t, ok := terms4(msg, u.FromMAC)
		return lease.Reply{Kind: lease.Offer, Terms: t}, ok
	case dhcpv4.MessageTypeAck:
		t, ok := terms4(msg, u.FromMAC)
		return lease.Reply{Kind: lease.Ack, Terms: t}, ok
	}

	return none, false
}

// terms4 parses an acknowledged lease. ok is false if it has no valid address, server or lease
// time.
func terms4(msg *dhcpv4.DHCPv4, mac net.HardwareAddr) (lease.Terms, bool) {
	addr, ok := unicast4(msg.YourIPAddr)
	by, named := unicast4(msg.ServerIdentifier())
	seconds := number(msg, dhcpv4.OptionIPAddressLeaseTime)
	if !ok || !named || seconds == 0 {
		return lease.Terms{}, false
	}

	mask := msg.SubnetMask()
	if mask == nil {
		mask = net.IP(addr.AsSlice()).DefaultMask()
	}

	bits, size := mask.Size()
	if size != addr.BitLen() || bits == 0 {
		return lease.Terms{}, false
	}

	t := lease.Terms{Protocol: lease.ByDHCP, Address: netip.PrefixFrom(addr, bits), Server: by.AsSlice(),
		ServerMAC: mac}
	t = t.WithRoutes(routes4(msg))
	t.Search = search4(msg)
	for _, ip := range msg.DNS() {
		if a, ok := unicast4(ip); ok {
			t.Servers = append(t.Servers, a)
		}
	}

	if b := msg.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 && binary.BigEndian.Uint16(b) >= leastMTU {
		t.MTU = int(binary.BigEndian.Uint16(b))
	}

	return t.For(time.Now(), seconds, number(msg, dhcpv4.OptionRenewTimeValue),
		number(msg, dhcpv4.OptionRebindingTimeValue)).StampedAt(bootclock.Now()), true
}

// optMSRoutes is the option that predates option 121, in the same format. Some servers still send
// it.
const optMSRoutes = dhcpv4.GenericOptionCode(249)

// routes4 returns the classless static routes of a message. If there are any, the router option is
// ignored (RFC 3442).
func routes4(msg *dhcpv4.DHCPv4) (out []lease.Route) {
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClasslessStaticRoute, optMSRoutes} {
		var all dhcpv4.Routes
		if b := msg.Options.Get(code); len(b) == 0 || all.FromBytes(b) != nil {
			continue
		}
		for _, r := range all {
			if route, ok := route4(r); ok {
				out = append(out, route)
			}
		}
		return out
	}

	for _, ip := range msg.Router() {
		if a, ok := unicast4(ip); ok {
			out = append(out, lease.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: a})
		}
	}

	return out
}

// route4 converts one route. Without a router it is on-link.
func route4(r *dhcpv4.Route) (lease.Route, bool) {
	to, ok := netip.AddrFromSlice(r.Dest.IP)
	bits, _ := r.Dest.Mask.Size()
	out := lease.Route{To: netip.PrefixFrom(to, bits).Masked()}
	if r.Router.IsUnspecified() {
		return out, ok
	}
	via, unicast := unicast4(r.Router)
	out.Via = via
	return out, ok && unicast
}

// search4 returns the search list, or the domain name if there is no list.
func search4(msg *dhcpv4.DHCPv4) []string {
	if list := lease.FilterSearch(lease.Names(msg.Options.Get(dhcpv4.OptionDNSDomainSearchList))); len(list) > 0 {
		return list
	}
	return lease.FilterSearch([]string{strings.TrimRight(string(msg.Options.Get(dhcpv4.OptionDomainName)), "\x00")})
}

func number(msg *dhcpv4.DHCPv4, code dhcpv4.OptionCode) uint32 {
	b := msg.Options.Get(code)
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// unicast4 returns a unicast address; otherwise ok is false.
func unicast4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	const experimental = 240
	return a, ok && a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a.As4()[0] < experimental
}
