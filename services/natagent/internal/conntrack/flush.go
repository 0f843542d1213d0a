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
	var requests []byte
	for _, end := range []struct{ tuple, original, reply uint16 }{
		{attrTupleOrig, filterSource, 0}, {attrTupleReply, 0, filterSource},
	} {
		filter, err := flushFilter(a, end.tuple, end.original, end.reply)
		if err != nil {
			return err
		}
		requests = appendDeletion(requests, unix.AF_INET, filter)
	}
	if err := c.direct.send(c.ns, requests); err != nil {
		return fmt.Errorf("delete the conntrack entries of %s: %w", a, err)
	}
	return nil
}

// flushFilter returns the attributes of a request that deletes all entries with a source address, of the
// original or the reply direction.
func flushFilter(a netip.Addr, tuple, original, reply uint16) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(tuple, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(attrSrcV4, a.AsSlice())
			return nil
		})
		return nil
	})
	ae.Nested(attrFilter, func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(attrFilterOrig, uint32(original))
		ae.Uint32(attrFilterReply, uint32(reply))
		return nil
	})
	return ae.Encode()
}
