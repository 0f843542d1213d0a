package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Ports of DHCPv6.
const (
	ServerPort6 = 547
	ClientPort6 = 546
)

// RunV6 acquires or renews an IPv6 address by DHCPv6, until an event occurs or the limit is
// reached. router is the last router advertisement, or nil: DHCPv6 itself provides neither routers
// nor prefix lengths.
func RunV6(ctx context.Context, w FrameConn, who lease.Identity, linkLocal netip.Addr, router *frame.Router,
	m *lease.Client, limit time.Time) (lease.Event, error) {
	return exchange(ctx, w, newSix(who, linkLocal, router), m, limit)
}

// Decline6 returns the frame that reports a granted address as in use by another host.
func Decline6(who lease.Identity, t lease.Terms) []byte {
	return newSix(who, t.Client, nil).message(dhcpv6.MessageTypeDecline, t.Address.Addr(), t.Server)
}

// v6Exchange is a DHCPv6 exchange.
type v6Exchange struct {
	who    lease.Identity
	from   netip.Addr
	router *frame.Router
	xid    dhcpv6.TransactionID
	began  time.Time
}

func newSix(who lease.Identity, linkLocal netip.Addr, router *frame.Router) *v6Exchange {
	n := rand.Uint32()
	return &v6Exchange{who: who, from: linkLocal, router: router,
		xid: dhcpv6.TransactionID{byte(n >> 16), byte(n >> 8), byte(n)}, began: time.Now()}
}

func (s *v6Exchange) request(m *lease.Client) []byte {
	addr, by := m.Terms.Address.Addr(), m.Terms.Server
	switch m.State {
	case lease.Requesting:
		return s.message(dhcpv6.MessageTypeRequest, addr, by)
	case lease.Rebooting:
		return s.message(dhcpv6.MessageTypeConfirm, addr, nil)
	case lease.Renewing:
		return s.message(dhcpv6.MessageTypeRenew, addr, by)
	case lease.Rebinding:
		return s.message(dhcpv6.MessageTypeRebind, addr, nil)
	}

	return s.message(dhcpv6.MessageTypeSolicit, m.Preferred, nil)
}

// message encodes a client message to all servers. A zero address and a nil server are omitted.
func (s *v6Exchange) message(kind dhcpv6.MessageType, addr netip.Addr, server []byte) []byte {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: s.xid}
	duid, err := dhcpv6.DUIDFromBytes(s.who.DUID)
	if err == nil {
		m.AddOption(dhcpv6.OptClientID(duid))
	}

	if by, err := dhcpv6.DUIDFromBytes(server); err == nil && server != nil {
		m.AddOption(dhcpv6.OptServerID(by))
	}

	ia := &dhcpv6.OptIANA{}
	binary.BigEndian.PutUint32(ia.IaId[:], s.who.IAID)
	if addr.IsValid() {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: addr.AsSlice()})
	}

	m.AddOption(ia)
	m.AddOption(dhcpv6.OptElapsedTime(min(time.Since(s.began), 0xffff*10*time.Millisecond)))
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList))
	if s.who.Hostname != "" && kind != dhcpv6.MessageTypeRelease && kind != dhcpv6.MessageTypeDecline {
		const serverUpdates = 1
		dhcpv6.WithFQDN(serverUpdates, s.who.Hostname)(m)
	}

	return frame.UDP{FromMAC: s.who.MAC, From: netip.AddrPortFrom(s.from, ClientPort6), To: allServers(),
		Payload: m.ToBytes()}.Frame()
}

// allServers returns the multicast group of servers and relays.
func allServers() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xff, 0x02, 13: 1, 15: 2}), ServerPort6)
}

func (s *v6Exchange) answer(data []byte, unsummed bool, m *lease.Client) (lease.Reply, bool) {
	var none lease.Reply
	u, ok := frame.ReadUDP(data, unsummed)
	if !ok || u.To.Port() != ClientPort6 {
		return none, false
	}

	msg, err := dhcpv6.MessageFromBytes(u.Payload)
	if err != nil || msg.TransactionID != s.xid {
		return none, false
	}

	client, server := msg.Options.ClientID(), msg.Options.ServerID()
	if client == nil || server == nil || !bytes.Equal(client.ToBytes(), s.who.DUID) {
		return none, false
	}

	kind := lease.Offer
	switch {
	case msg.MessageType == dhcpv6.MessageTypeAdvertise:
	case msg.MessageType != dhcpv6.MessageTypeReply:
		return none, false
	case m.State == lease.Rebooting:
		if bad(msg.Options.Status()) {
			return lease.Reply{Kind: lease.Nak}, true
		}
		return lease.Reply{Kind: lease.Ack, Terms: m.Terms}, true // unchanged
	default:
		kind = lease.Ack
	}

	t, ok := s.terms(msg, m.Terms)
	if !ok && kind == lease.Ack {
		return lease.Reply{Kind: lease.Nak}, true
	}

	t.Server, t.ServerMAC = server.ToBytes(), u.FromMAC
	return lease.Reply{Kind: kind, Terms: t}, ok
}

func bad(status *dhcpv6.OptStatusCode) bool {
	return status != nil && status.StatusCode != iana.StatusSuccess
}

// terms parses a reply. Router and prefix length keep their previous values if no router
// advertisement was received.
func (s *v6Exchange) terms(msg *dhcpv6.Message, was lease.Terms) (lease.Terms, bool) {
	if bad(msg.Options.Status()) {
		return lease.Terms{}, false
	}

	for _, ia := range msg.Options.IANA() {
		if binary.BigEndian.Uint32(ia.IaId[:]) != s.who.IAID || bad(ia.Options.Status()) {
			continue
		}
		for _, a := range ia.Options.Addresses() {
			addr, ok := unicast6(a.IPv6Addr)
			valid := seconds(a.ValidLifetime)
			if !ok || valid == 0 || bad(a.Options.Status()) {
				continue
			}
			t := lease.Terms{Protocol: lease.ByDHCPv6, Address: netip.PrefixFrom(addr, addr.BitLen()), Client: s.from}
			if was.Address.Addr() == addr {
				t.Address, t.Router, t.MTU = was.Address, was.Router, was.MTU
			}
			for _, ip := range msg.Options.DNS() {
				if a, ok := unicast6(ip); ok {
					t.Servers = append(t.Servers, a)
				}
			}
			if t.Search = search6(msg); s.router == nil && was.Address.Addr() == addr {
				t.Servers, t.Search = either(t.Servers, was.Servers), either(t.Search, was.Search)
			}
			t1, t2 := seconds(ia.T1), seconds(ia.T2)
			if t1 == 0 {
				t1 = seconds(a.PreferredLifetime) / 2
			}
			t = withRouter(s.router, t).For(time.Now(), valid, t1, t2).StampedAt(bootclock.Now())
			if soon := t.Granted.Add(routerAgain); s.router == nil && !t.Router.IsValid() && t.Renew.After(soon) {
				t.Renew = soon
			}
			return t, true
		}
	}

	return lease.Terms{}, false
}

// either returns the received values, or the previous ones if there are none.
func either[T any](received, known []T) []T {
	if len(received) > 0 {
		return received
	}
	return known
}

// search6 returns the search domains of a message.
func search6(msg *dhcpv6.Message) []string {
	list := msg.Options.GetOne(dhcpv6.OptionDomainSearchList)
	if list == nil {
		return nil
	}
	return lease.FilterSearch(lease.Names(list.ToBytes()))
}

// seconds converts a duration to its encoding.
func seconds(d time.Duration) uint32 { return uint32(min(d/time.Second, 1<<32-1)) }

// unicast6 returns a global or unique local unicast address; otherwise ok is false.
func unicast6(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a, ok && a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast()
}
