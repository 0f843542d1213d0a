package dhcp

import (
	"bytes"
	"math/rand/v2"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Release4 gives the address back. Nobody answers.
func Release4(who lease.Identity, t lease.Terms) []byte {
	f := &v4Exchange{who: who, xid: rand.Uint32()}
	return f.unicast(t, f.message(dhcpv4.MessageTypeRelease, from(t.Address.Addr()), server(t.Server)))
}

// Release6 gives an IPv6 address back.
type Release6 struct {
	Frame []byte
	xid   dhcpv6.TransactionID
	duid  []byte
}

// NewRelease6 makes one. It is said by t.Client, with the hardware address of who.
func NewRelease6(who lease.Identity, t lease.Terms) Release6 {
	s := newSix(who, t.Client, nil)
	return Release6{s.message(dhcpv6.MessageTypeRelease, t.Address.Addr(), t.Server), s.xid, who.DUID}
}

// Answered tells whether a frame is what a server answers. Whatever it says of it, it has heard it, and there is nothing more to be done
// (RFC 8415, 18.2.10.2).
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
