package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ProbeResult is the result of one probe in a temporary namespace.
type ProbeResult struct {
	What string
	Err  error // nil: supported
}

// ErrUnsupported reports that the kernel lacks a feature.
var ErrUnsupported = errors.New("the kernel does not have it")

// ProbeLinks probes each link type that a network can use, and isolated bridge ports.
func ProbeLinks() ([]ProbeResult, error) {
	var all []ProbeResult
	err := NewNamespace(func(ns *Namespace) error {
		attrs := func(name string, parent int) netlink.LinkAttrs {
			a := netlink.NewLinkAttrs()
			a.Name, a.ParentIndex = name, parent
			return a
		}
		if err := ns.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs("outer", 0), PeerName: "inner"}); err != nil {
			return fmt.Errorf("create veth pair: %w", err)
		}

		outer, err := ns.handle.LinkByName("outer")
		if err != nil {
			return fmt.Errorf("look up outer: %w", err)
		}

		parent := outer.Attrs().Index
		for _, link := range []netlink.Link{
			&netlink.Bridge{LinkAttrs: attrs("bridge", 0)},
			&netlink.Macvlan{LinkAttrs: attrs("macvlan", parent), Mode: netlink.MACVLAN_MODE_BRIDGE},
			&netlink.IPVlan{LinkAttrs: attrs("ipvlan", parent), Mode: netlink.IPVLAN_MODE_L2},
			&netlink.Vlan{LinkAttrs: attrs("802.1q", parent), VlanId: 1, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q},
			&netlink.Vxlan{LinkAttrs: attrs("vxlan", 0), VxlanId: 1, Port: 4789},
		} {
			name := link.Attrs().Name
			err := known(ns.handle.LinkAdd(link))
			all = append(all, ProbeResult{name, err})
			if err == nil && name != "bridge" { // the sub-interfaces of a parent have one type
				_ = ns.handle.LinkDel(link)
			}
		}

		all = append(all, ProbeResult{"isolated", known(ns.tryIsolated(outer))},
			ProbeResult{"locked", known(ns.tryLocked(outer))})
		return nil
	})
	return all, err
}

// TryIsolated probes isolated bridge ports.
func TryIsolated() error {
	return NewNamespace(func(ns *Namespace) error {
		attrs := func(name string) netlink.LinkAttrs {
			a := netlink.NewLinkAttrs()
			a.Name = name
			return a
		}
		port := &netlink.Veth{LinkAttrs: attrs("outer"), PeerName: "inner"}
		if err := errors.Join(ns.handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("bridge")}),
			ns.handle.LinkAdd(port)); err != nil {
			return fmt.Errorf("create bridge and veth pair: %w", err)
		}
		return known(ns.tryIsolated(port))
	})
}

func (n *Namespace) tryIsolated(port netlink.Link) error {
	bridge, err := n.handle.LinkByName("bridge")
	if err == nil {
		err = n.handle.LinkSetMaster(port, bridge)
	}

	if err == nil {
		err = n.handle.LinkSetIsolated(port, true)
	}

	if err != nil {
		return err
	}

	is, err := n.handle.LinkGetProtinfo(port)
	if err == nil && !is.Isolated { // a kernel may ignore an unknown flag silently
		return ErrUnsupported
	}

	return err
}

// known replaces the kernel's error for a missing feature by ErrUnsupported.
func known(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return ErrUnsupported
	}
	return err
}
