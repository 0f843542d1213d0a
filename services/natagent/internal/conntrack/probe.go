package conntrack

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Probe finds out whether the connection tracker can be asked. Without it, who talks to a port that is withdrawn would go on to reach
// the container's address, whoever has that by then.
func Probe(ns hostns.NS) error {
	c := New(ns)
	few := Selector{Protocol: publication.UDP, Host: netip.AddrPortFrom(netip.IPv4Unspecified(), 1)} // which the kernel looks for, not we
	filter, err := dumpFilter(newMatcher([]Selector{few}, c.local))
	if err == nil {
		err = c.walk(false, filter, func(*netlink.Conn, flow, []byte) error { return nil })
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "connection tracker", "may not be asked", fault.WithCause(err),
			fault.WithHint("run natagent as root, or give it CAP_NET_ADMIN"))
	}
	return fault.New(fault.Unavailable, "kernel", "has no connection tracker that can be asked, and flows to withdrawn ports could not be cut", fault.WithCause(err),
		fault.WithHint("load or build it (CONFIG_NF_CT_NETLINK, module nf_conntrack_netlink)"))
}
