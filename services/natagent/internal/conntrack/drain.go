package conntrack

import (
	"context"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// drainLook is how often open connections are looked for. A look walks the kernel's whole table twice an address.
const drainLook = 50 * time.Millisecond

// Drain waits until no TCP connection from or to addresses is open any more, or ctx ends, and answers how many still are.
func (c *Deleter) Drain(ctx context.Context, addresses []netip.Addr) (open int, err error) {
	for {
		open = 0
		for _, a := range addresses {
			n, err := c.countOpen(a)
			if err != nil {
				return open, err
			}
			open += n
		}
		if open == 0 {
			return 0, nil
		}
		select {
		case <-ctx.Done():
			return open, nil
		case <-time.After(drainLook):
		}
	}
}

// countOpen counts the open TCP connections that an address is at an end of: those that it has opened, and those that are answered by it.
func (c *Deleter) countOpen(a netip.Addr) (int, error) {
	open := 0
	for _, end := range []struct {
		tuple, flags uint16
		is           func(flow) bool
	}{
		{attrTupleOrig, attrFilterOrig, func(f flow) bool { return f.from == a }},
		{attrTupleReply, attrFilterReply, func(f flow) bool { return f.answer.Addr() == a }},
	} {
		filter, err := sourceFilter(a, end.tuple, end.flags)
		if err != nil {
			return 0, err
		}
		err = c.walk(a.Is6(), filter, func(_ *netlink.Conn, f flow, _ []byte) error {
			if f.proto == publication.TCP.Number() && isOpen(f.state) && end.is(f) {
				open++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return open, nil
}

// isOpen tells whether data may still be on its way in a TCP connection.
func isOpen(state uint8) bool { return stateSynSent <= state && state <= stateLastAck }

// sourceFilter has the kernel (5.8 and later; older ones list all) leave out whatever is not TCP with a source, of its packets there or
// of the answers. Of IPv6 all TCP is listed: ctnetlink_filter_match_tuple passes the other sources there, not the one that it is given.
func sourceFilter(a netip.Addr, tuple, flags uint16) ([]byte, error) {
	wanted := uint32(filterProtoNum)
	if a.Is4() {
		wanted |= filterSource
	}
	ae := netlink.NewAttributeEncoder()
	ae.Nested(tuple, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
			if a.Is4() {
				ae.Bytes(attrSrcV4, a.AsSlice())
			}
			return nil
		})
		ae.Nested(attrTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(attrProtoNum, unix.IPPROTO_TCP)
			return nil
		})
		return nil
	})
	ae.Nested(attrFilter, func(ae *netlink.AttributeEncoder) error {
		for _, one := range []uint16{attrFilterOrig, attrFilterReply} {
			if one == flags {
				ae.Uint32(one, wanted)
			} else {
				ae.Uint32(one, 0)
			}
		}
		return nil
	})
	return ae.Encode()
}
