package dhcp

import (
	"bytes"
	"math/rand/v2"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Release4 returns the frame that releases an IPv4 lease. Servers send no reply.
func Release4(who lease.Identity, t lease.Terms) []byte {
	f := &v4Exchange{who: who, xid: rand.Uint32()}
	return f.unicast(t, f.message(dhcpv4.MessageTypeRelease, from(t.Address.Addr()), server(t.Server)))
}

// Release6 is the release of an IPv6 lease.
type Release6 struct {
	Frame []byte
	xid   dhcpv6.TransactionID
	duid  []byte
}

// NewRelease6 returns the release, sent from t.Client with the MAC of who.
func NewRelease6(who lease.Identity, t lease.Terms) Release6 {
	s := newSix(who, t.Client, nil)
	return Release6{s.message(dhcpv6.MessageTypeRelease, t.Address.Addr(), t.Server), s.xid, who.DUID}
}

// Answered reports whether a frame is the server's reply. Its status does not matter, as the
// exchange is complete with any reply (RFC 8415, 18.2.10.2).
func (r Release6) Answered(data []byte, unsummed bool) bool {
	u, ok := frame.ReadUDP(data, unsummed)
	if !ok || u.To.Port() != ClientPort6 {
		return false
	}
	msg, err := dhcpv6.MessageFromBytes(u.Payload)
	if err != nil || msg.TransactionID != r.xid || msg.MessageType != dhcpv6.MessageTypeReply {
		return false
	}
	client := msg.Options.ClientID()
	return client != nil && bytes.Equal(client.ToBytes(), r.duid)
}
