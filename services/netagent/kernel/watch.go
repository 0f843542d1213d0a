package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Change is something that happened to the host's links or addresses.
type Change struct {
	Link    string // the link's name; empty for changes of addresses
	Unknown bool   // the kernel had more to tell than we could hear: anything may have changed
}

// Watch tells of each change of a link or an address until ctx ends. It returns nil then, and an error if it cannot listen.
func (h *Host) Watch(ctx context.Context, tell func(Change)) error {
	at := netns.None()
	if h.ns != nil {
		at = netns.NsHandle(h.ns.Fd())
	}
	socket, err := nl.SubscribeAt(at, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
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
			tell(Change{Unknown: true})
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("listen for netlink events: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWADDR || m.Header.Type == unix.RTM_DELADDR {
				tell(Change{})
			} else if name := linkName(m.Data); name != "" {
				tell(Change{Link: name})
			}
		}
	}
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
