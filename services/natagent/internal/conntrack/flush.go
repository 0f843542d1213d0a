package conntrack

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DeleteAll deletes all entries of connections from and to addresses. The kernel does that itself since
// Linux 6.11, for IPv4: it skips the empty part of its table, which a walk does not.
func (c *Deleter) DeleteAll(ctx context.Context, addresses []netip.Addr) error {
	var others []netip.Addr
	for _, a := range addresses {
		if !a.Is4() || c.flush(a) != nil {
			others = append(others, a)
		}
	}
	return c.Delete(ctx, ForAddresses(others))
}

// flush makes the kernel delete the entries of an IPv4 address. Other kernels reject the request: they
// require a complete tuple.
func (c *Deleter) flush(a netip.Addr) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: c.ns.Fd()})
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer func() { _ = conn.Close() }()

	for _, end := range []struct{ tuple, original, reply uint16 }{
		{attrTupleOrig, filterSource, 0}, {attrTupleReply, 0, filterSource},
	} {
		ae := netlink.NewAttributeEncoder()
		ae.Nested(end.tuple, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
				ae.Bytes(attrSrcV4, a.AsSlice())
				return nil
			})
			return nil
		})
		ae.Nested(attrFilter, func(ae *netlink.AttributeEncoder) error {
			ae.Uint32(attrFilterOrig, uint32(end.original))
			ae.Uint32(attrFilterReply, uint32(end.reply))
			return nil
		})
		filter, err := ae.Encode()
		if err != nil {
			return err
		}
		if _, err := request(conn, msgDelete, netlink.Acknowledge, unix.AF_INET, filter); err != nil {
			return fmt.Errorf("delete the conntrack entries of %s: %w", a, err)
		}
	}
	return nil
}
