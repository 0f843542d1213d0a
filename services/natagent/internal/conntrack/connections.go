package conntrack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of linux/netfilter/nfnetlink_conntrack.h that only connections need.
const (
	attrCountersOrig  = 9
	attrCountersReply = 10
	attrPackets       = 1
	attrBytes         = 2
)

// Connection is a conntrack entry.
type Connection struct {
	Protocol uint8
	From, To netip.AddrPort // as the client sent it
	Target   netip.AddrPort // the destination after DNAT: the source of replies
	Replied  bool           // a reply was seen
	State    string         // of a TCP connection, such as ESTABLISHED
	ID       uint32         // of the entry in the kernel

	// Counted is true if the kernel counts bytes and packets: net.netfilter.nf_conntrack_acct.
	Counted        bool
	Sent, Received Traffic
}

// Traffic counts the packets of one direction.
type Traffic struct{ Packets, Bytes uint64 }

// tcpStates returns the names of the kernel's TCP states.
func tcpStates() []string {
	return []string{"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
		"CLOSE", "SYN_SENT2"}
}

// parseConnection decodes an entry.
func parseConnection(data []byte) (c Connection, err error) {
	f, _, err := parse(data)
	if err != nil {
		return c, err
	}
	c = Connection{Protocol: f.proto, To: f.dst, Target: f.replySrc, Replied: f.replied}
	if states := tcpStates(); f.proto == unix.IPPROTO_TCP && int(f.state) < len(states) {
		c.State = states[f.state]
	}

	ad, err := netlink.NewAttributeDecoder(data[4:])
	if err != nil {
		return c, fmt.Errorf("conntrack entry: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case attrTupleOrig:
			var orig tuple
			ad.Nested(orig.decode)
			c.From = orig.src()
		case attrID:
			if b := ad.Bytes(); len(b) == 4 {
				c.ID = binary.BigEndian.Uint32(b)
			}
		case attrCountersOrig:
			c.Counted = true
			ad.Nested(c.Sent.decode)
		case attrCountersReply:
			c.Counted = true
			ad.Nested(c.Received.decode)
		}
	}

	if err := ad.Err(); err != nil {
		return c, fmt.Errorf("conntrack entry: %w", err)
	}
	return c, nil
}

func (t *Traffic) decode(ad *netlink.AttributeDecoder) error {
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case attrPackets:
			t.Packets = ad.Uint64()
		case attrBytes:
			t.Bytes = ad.Uint64()
		}
	}
	return nil
}

// HasPorts reports whether connections of the protocol have ports.
func (c Connection) HasPorts() bool {
	return slices.Contains([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP}, c.Protocol)
}
