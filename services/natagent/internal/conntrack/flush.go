package conntrack

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DeleteAll deletes all entries of connections from addresses, and with incoming also to them. The kernel does that
// itself since Linux 6.11, for IPv4: it skips the empty part of its table, which a walk does not. It walks the table
// for each direction even so: that takes milliseconds.
func (c *Deleter) DeleteAll(ctx context.Context, addresses []netip.Addr, incoming bool) error {
	var others []netip.Addr
	for _, a := range addresses {
		if !a.Is4() || c.flush(a, incoming) != nil {
			others = append(others, a)
		}
	}
	return c.Delete(ctx, ForAddresses(others))
}

// flush makes the kernel delete the entries of an IPv4 address. Other kernels reject the request: they
// require a complete tuple.
func (c *Deleter) flush(a netip.Addr, incoming bool) error {
	var requests []byte
	for _, end := range []struct{ tuple, original, reply uint16 }{
		{attrTupleOrig, filterSource, 0}, {attrTupleReply, 0, filterSource},
	} {
		if end.tuple == attrTupleReply && !incoming {
			continue
		}
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
