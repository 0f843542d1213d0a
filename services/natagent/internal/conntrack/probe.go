package conntrack

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Probe checks whether conntrack entries can be listed and deleted. Without that, clients of a
// withdrawn port would still reach the container's address, even after another container has it.
func Probe(ns hostns.NS) error {
	c := New(ns)
	// The kernel filters by the port, so that the result is small.
	few := Selector{Protocol: port.UDP, Host: netip.AddrPortFrom(netip.IPv4Unspecified(), 1)}
	filter, err := dumpFilter(newMatcher([]Selector{few}, c.Local))
	if err == nil {
		err = c.walk(unix.AF_INET, filter, func(*netlink.Conn, byte, flow, []byte) error { return nil })
	}

	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "conntrack", "cannot be used: permission denied", fault.WithCause(err),
			fault.WithHint("run natagent as root, or grant it CAP_NET_ADMIN"))
	}

	return fault.New(fault.Unavailable, "kernel", "does not support ctnetlink, required to delete conntrack entries",
		fault.WithCause(err),
		fault.WithHint("load the module nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)"))
}
