package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Change is a change of the host's links or addresses.
type Change struct {
	Link     string // name of a changed link; empty for changes of addresses
	Index    int    // link whose addresses changed; 0 for changes of links
	Overflow bool   // events were dropped: anything may have changed
}

// Watch calls report for each change of a link or an address until ctx ends. It returns nil then,
// and an error if the subscription fails.
func (h *Host) Watch(ctx context.Context, report func(Change)) error {
	return h.listen(ctx, func() { report(Change{Overflow: true}) }, func(m syscall.NetlinkMessage) {
		if m.Header.Type == unix.RTM_NEWADDR || m.Header.Type == unix.RTM_DELADDR {
			if len(m.Data) >= unix.SizeofIfAddrmsg {
				report(Change{Index: int(nl.DeserializeIfAddrmsg(m.Data).Index)})
			}
		} else if name := linkName(m.Data); name != "" {
			report(Change{Link: name})
		}
	}, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
}

// WatchRoutes calls report when routes of the main table are added or deleted, until ctx ends. It
// ignores default routes and routes to link-local addresses. It returns like Watch.
func (h *Host) WatchRoutes(ctx context.Context, report func()) error {
	return h.listen(ctx, report, func(m syscall.NetlinkMessage) {
		if isNetworkRoute(m.Data) {
			report()
		}
	}, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
}

// WatchTunnel calls changed after each change of a tunnel, its entries, its routes and the IPv4 addresses of
// the host, until ctx ends. Before Linux 6.7 the kernel does not report routes that it deletes with the
// address that is their source. It returns like Watch.
func (h *Host) WatchTunnel(ctx context.Context, name string, changed func()) error {
	link, _, err := h.Link(name)
	if err != nil {
		return err
	}
	index := link.Index
	return h.listen(ctx, changed, func(m syscall.NetlinkMessage) {
		at := 0
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if linkName(m.Data) != name {
				return
			}
			index = int(nl.DeserializeIfInfomsg(m.Data).Index)
			at = index
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			at = index
		case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
			if len(m.Data) >= unix.SizeofIfInfomsg/2 {
				at = int(binary.NativeEndian.Uint32(m.Data[4:]))
			}
		default:
			at = outputOf(m.Data)
		}
		if at == index && at != 0 {
			changed()
		}
	}, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR)
}

// outputOf returns the output link in a route message; 0 if it has none.
func outputOf(data []byte) (index int) {
	if len(data) < unix.SizeofRtMsg {
		return 0
	}
	attributes(data, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		if kind == unix.RTA_OIF && len(value) == 4 {
			index = int(binary.NativeEndian.Uint32(value))
		}
	})
	return index
}

// listen passes the events of the given groups to receive until ctx ends. It calls missed when
// events were dropped.
func (h *Host) listen(ctx context.Context, missed func(), receive func(syscall.NetlinkMessage), groups ...uint) error {
	at := netns.None()
	if h.ns != nil {
		at = netns.NsHandle(h.ns.Fd())
	}

	socket, err := nl.SubscribeAt(at, netns.None(), unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return fmt.Errorf("watch netlink events: %w", err)
	}

	stop := context.AfterFunc(ctx, socket.Close)
	defer func() {
		if stop() {
			socket.Close()
		}
	}()
	for {
		messages, _, err := socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			missed()
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("watch netlink events: %w", err)
		}
		for _, m := range messages {
			receive(m)
		}
	}
}

// isNetworkRoute reports whether a message is about a route that can overlap a network.
func isNetworkRoute(data []byte) bool {
	if len(data) < unix.SizeofRtMsg {
		return false
	}

	r := nl.DeserializeRtMsg(data)
	if r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST || r.Dst_len == 0 {
		return false
	}

	attrs, err := nl.ParseRouteAttr(data[unix.SizeofRtMsg:])
	if err != nil {
		return false
	}

	for _, a := range attrs {
		if to, ok := netip.AddrFromSlice(a.Value); a.Attr.Type == unix.RTA_DST && ok {
			return !to.IsLinkLocalUnicast() && !to.IsMulticast()
		}
	}

	return false
}

// linkName returns the name in a link message.
func linkName(data []byte) string {
	if len(data) < unix.SizeofIfInfomsg {
		return ""
	}

	attrs, err := nl.ParseRouteAttr(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return ""
	}

	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_IFNAME {
			return nl.BytesToString(a.Value)
		}
	}

	return ""
}
