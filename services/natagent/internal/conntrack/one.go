package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DeleteTCP deletes the conntrack entry of one TCP connection, as the client made it. It does nothing if
// there is none.
func (c *Deleter) DeleteTCP(client, server netip.AddrPort) error {
	key, err := tupleOf(client, server)
	if err != nil {
		return err
	}
	err = c.direct.send(c.ns, appendDeletion(nil, familyOf(client.Addr().Is6()), key))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete the conntrack entry to %s: %w", server, err)
	}
	return nil
}

// tupleOf returns the attribute that identifies a TCP connection.
func tupleOf(client, server netip.AddrPort) ([]byte, error) {
	src, dst := uint16(attrSrcV4), uint16(attrDstV4)
	if client.Addr().Is6() {
		src, dst = attrSrcV6, attrDstV6
	}
	ae := netlink.NewAttributeEncoder()
	ae.Nested(attrTupleOrig, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(src, client.Addr().AsSlice())
			ae.Bytes(dst, server.Addr().AsSlice())
			return nil
		})
		ae.Nested(attrTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(attrProtoNum, unix.IPPROTO_TCP)
			ae.Bytes(attrSrcPort, binary.BigEndian.AppendUint16(nil, client.Port()))
			ae.Bytes(attrDstPort, binary.BigEndian.AppendUint16(nil, server.Port()))
			return nil
		})
		return nil
	})
	return ae.Encode()
}
