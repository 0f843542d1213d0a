package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
)

// Constants of linux/netfilter/nfnetlink_conntrack.h.
const (
	msgGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	msgDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	attrTupleOrig  = 1
	attrTupleReply = 2
	attrStatus     = 3
	attrProtoInfo  = 4
	attrID         = 12
	attrZone       = 18
	attrFilter     = 25

	attrTupleIP    = 1
	attrTupleProto = 2
	attrSrcV4      = 1
	attrDstV4      = 2
	attrSrcV6      = 3
	attrDstV6      = 4
	attrProtoNum   = 1
	attrSrcPort    = 2
	attrDstPort    = 3

	attrInfoTCP  = 1
	attrTCPState = 1

	attrFilterOrig  = 1
	attrFilterReply = 2
	filterSource    = 1 << 0
	filterProtoNum  = 1 << 3
	filterDstPort   = 1 << 5
)

// seenReply is IPS_SEEN_REPLY of linux/netfilter/nf_conntrack_common.h.
const seenReply = 1 << 1

// States of linux/netfilter/nf_conntrack_tcp.h, from SYN_SENT to LAST_ACK.
const (
	stateSynSent = 1
	stateLastAck = 6
)

// deleteMatching deletes the entries that the matcher of their family selects.
func (c *Deleter) deleteMatching(matchers map[byte]*matcher) error {
	family, filter := byte(unix.AF_UNSPEC), []byte(nil)
	for only, m := range matchers {
		if len(matchers) > 1 {
			break
		}
		var err error
		if filter, err = dumpFilter(m); err != nil {
			return err
		}
		family = only
	}

	return c.walk(family, filter, func(conn *netlink.Conn, family byte, f flow, key []byte) error {
		if m := matchers[family]; m == nil || !m.match(f) {
			return nil
		}
		if _, err := request(conn, msgDelete, netlink.Acknowledge, family, key); err != nil &&
			!errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("delete the conntrack entry to %s: %w", f.dst, err)
		}
		return nil
	})
}

// walk calls each for the entries of a family, AF_UNSPEC for all, that pass the kernel's filter.
func (c *Deleter) walk(family byte, filter []byte,
	each func(conn *netlink.Conn, family byte, f flow, key []byte) error) error {
	conn, err := c.dial()
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer func() { _ = conn.Close() }()
	entries, err := request(conn, msgGet, netlink.Dump, family, filter)
	if err != nil {
		return fmt.Errorf("list conntrack entries: %w", err)
	}

	var errs []error
	for _, e := range entries {
		f, key, err := parse(e.Data)
		if err == nil {
			err = each(conn, e.Data[0], f, key)
		}
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

func familyOf(v6 bool) byte {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func request(conn *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, family byte,
	attrs []byte) ([]netlink.Message, error) {
	if err := crashpoint.Before(crashpoint.Netlink, "conntrack"); err != nil {
		return nil, err
	}
	return conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
}

// dumpFilter returns a dump filter for a single port, or nil for several. Linux before 5.8 ignores
// it.
func dumpFilter(m *matcher) ([]byte, error) {
	proto, port, ok := m.only()
	if !ok {
		return nil, nil
	}

	ae := netlink.NewAttributeEncoder()
	ae.Nested(attrTupleOrig, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(attrProtoNum, proto.Number())
			ae.Bytes(attrDstPort, binary.BigEndian.AppendUint16(nil, port))
			return nil
		})
		return nil
	})

	ae.Nested(attrFilter, func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(attrFilterOrig, filterProtoNum|filterDstPort)
		ae.Uint32(attrFilterReply, 0)
		return nil
	})

	return ae.Encode()
}

// parse decodes an entry. key identifies it in a delete request: original tuple, ID and zone.
func parse(data []byte) (f flow, key []byte, err error) {
	if len(data) < 4 {
		return f, nil, errors.New("conntrack entry: message is too short")
	}

	ad, err := netlink.NewAttributeDecoder(data[4:])
	if err != nil {
		return f, nil, fmt.Errorf("conntrack entry: %w", err)
	}

	ae := netlink.NewAttributeEncoder()
	var reply tuple
	for ad.Next() {
		switch ad.Type() {
		case attrTupleOrig:
			var orig tuple
			ad.Nested(orig.decode)
			f.proto, f.dst, f.from = orig.proto, orig.dst(), orig.srcIP
			ae.Bytes(unix.NLA_F_NESTED|attrTupleOrig, ad.Bytes())
		case attrTupleReply:
			ad.Nested(reply.decode)
			f.replySrc, f.back = reply.src(), reply.dstIP
		case attrStatus:
			f.replied = len(ad.Bytes()) == 4 && binary.BigEndian.Uint32(ad.Bytes())&seenReply != 0
		case attrProtoInfo:
			ad.Nested(f.decodeState)
		case attrID, attrZone:
			ae.Bytes(ad.Type(), ad.Bytes())
		}
	}

	if err := ad.Err(); err != nil {
		return f, nil, fmt.Errorf("conntrack entry: %w", err)
	}

	key, err = ae.Encode()
	return f, key, err
}

// decodeState decodes the state of a TCP connection.
func (f *flow) decodeState(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == attrInfoTCP {
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == attrTCPState {
						f.state = ad.Uint8()
					}
				}
				return nil
			})
		}
	}

	return nil
}

// tuple is one direction of an entry.
type tuple struct {
	proto            uint8
	srcIP, dstIP     netip.Addr
	srcPort, dstPort uint16
}

func (t *tuple) src() netip.AddrPort { return netip.AddrPortFrom(t.srcIP, t.srcPort) }
func (t *tuple) dst() netip.AddrPort { return netip.AddrPortFrom(t.dstIP, t.dstPort) }

func (t *tuple) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case attrTupleIP:
			ad.Nested(t.decodeIP)
		case attrTupleProto:
			ad.Nested(t.decodeProto)
		}
	}
	return nil
}

func (t *tuple) decodeIP(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		addr, _ := netip.AddrFromSlice(ad.Bytes())
		switch ad.Type() {
		case attrSrcV4, attrSrcV6:
			t.srcIP = addr
		case attrDstV4, attrDstV6:
			t.dstIP = addr
		}
	}
	return nil
}

func (t *tuple) decodeProto(ad *netlink.AttributeDecoder) error {
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case attrProtoNum:
			t.proto = ad.Uint8()
		case attrSrcPort:
			t.srcPort = ad.Uint16()
		case attrDstPort:
			t.dstPort = ad.Uint16()
		}
	}

	return nil
}
