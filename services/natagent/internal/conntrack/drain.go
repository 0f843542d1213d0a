package conntrack

import (
	"context"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/port"
)

// drainInterval is the poll interval. Each poll walks the kernel's table twice per address.
const drainInterval = 50 * time.Millisecond

// Drain waits until no TCP connection uses the addresses, or ctx ends. It returns the number of
// open ones.
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
		case <-time.After(drainInterval):
		}
	}
}

// countOpen counts the open TCP connections from and to an address.
func (c *Deleter) countOpen(a netip.Addr) (int, error) {
	open := 0
	for _, end := range []struct {
		tuple, flags uint16
		is           func(flow) bool
	}{
		{attrTupleOrig, attrFilterOrig, func(f flow) bool { return f.from == a }},
		{attrTupleReply, attrFilterReply, func(f flow) bool { return f.replySrc.Addr() == a }},
	} {
		filter, err := sourceFilter(a, end.tuple, end.flags)
		if err != nil {
			return 0, err
		}
		err = c.walk(familyOf(a.Is6()), filter, func(_ *netlink.Conn, _ byte, f flow, _ []byte) error {
			if f.proto == port.TCP.Number() && isOpen(f.state) && end.is(f) {
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

// isOpen reports whether a TCP connection can still transfer data.
func isOpen(state uint8) bool { return stateSynSent <= state && state <= stateLastAck }

// sourceFilter returns a dump filter for TCP with a source address, of the original or the reply
// direction. Linux before 5.8 ignores it. For IPv6 it selects all TCP: ctnetlink_filter_match_tuple
// accepts the wrong addresses there.
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
