package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Change is something that happened to the host's links or addresses.
type Change struct {
	Link     string // the name of a link that has changed; empty for changes of addresses
	Index    int    // of the link whose addresses have changed; 0 for changes of links
	Overflow bool   // the kernel had more to tell than we could hear: anything may have changed
}

// Watch tells of each change of a link or an address until ctx ends. It returns nil then, and an error if it cannot listen.
func (h *Host) Watch(ctx context.Context, tell func(Change)) error {
	return h.listen(ctx, func() { tell(Change{Overflow: true}) }, func(m syscall.NetlinkMessage) {
		if m.Header.Type == unix.RTM_NEWADDR || m.Header.Type == unix.RTM_DELADDR {
			if len(m.Data) >= unix.SizeofIfAddrmsg {
				tell(Change{Index: int(nl.DeserializeIfAddrmsg(m.Data).Index)})
			}
		} else if name := linkName(m.Data); name != "" {
			tell(Change{Link: name})
		}
	}, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
}

// WatchRoutes tells that routes of the main table have come or gone, but for those to link-local addresses and to
// everything, until ctx ends. It returns as Watch does.
func (h *Host) WatchRoutes(ctx context.Context, tell func()) error {
	return h.listen(ctx, tell, func(m syscall.NetlinkMessage) {
		if isNetworkRoute(m.Data) {
			tell()
		}
	}, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
}

// listen hands on what the kernel tells some groups until ctx ends. missed is called when it had more to tell than we could hear.
func (h *Host) listen(ctx context.Context, missed func(), heard func(syscall.NetlinkMessage), groups ...uint) error {
	at := netns.None()
	if h.ns != nil {
		at = netns.NsHandle(h.ns.Fd())
	}
	socket, err := nl.SubscribeAt(at, netns.None(), unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return fmt.Errorf("listen for netlink events: %w", err)
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
			return fmt.Errorf("listen for netlink events: %w", err)
		}
		for _, m := range messages {
			heard(m)
		}
	}
}

// isNetworkRoute tells whether a message is of a route that may lead to a network of others.
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

// linkName reads the name from a link message.
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
