package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SubInterface is an interface in a container on a link of the host.
type SubInterface struct {
	Name   string
	Parent int              // the link's index
	MAC    net.HardwareAddr // macvlan only; nil: the kernel's choice, in mode passthru the parent's
	MTU    int              // 0: the parent's
	Mode   string           // of macvlan: bridge, private, vepa, passthru; of ipvlan: l2, l3, l3s
	Flag   string           // of ipvlan: bridge, private, vepa; empty: macvlan
	Alias  string           // tells whose it is
}

// AddSubInterface makes the interface in the namespace, down. A parent that is a port of a bridge, or has children of the other kind, is
// EBUSY. It is made under a name that nobody else has, as kernels before 6.14 look for its name among the host's links; it has its own
// name last, so that whoever finds it knows whose it is.
func (h *Host) AddSubInterface(c SubInterface, unique string, ns *Namespace) error {
	name := c.Name
	c.Name = unique
	if err := retry(func() error { return h.handle.LinkAdd(c.link(netlink.NsFd(ns.file.Fd()))) }); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	link, err := retried(func() (netlink.Link, error) { return ns.handle.LinkByName(unique) })
	if err == nil {
		err = retry(func() error { return ns.handle.LinkSetAlias(link, c.Alias) })
	}
	if err == nil {
		err = retry(func() error { return ns.handle.LinkSetName(link, name) })
	}
	if err != nil {
		return errors.Join(fmt.Errorf("name %s: %w", name, err), ns.DeleteChild(unique))
	}
	return nil
}

// AddHostChild makes the interface on the host itself, with sysctls that are set before it is up. Those of IPv6 are left out where the
// kernel has none.
func (h *Host) AddHostChild(c SubInterface, settings []Sysctl) error {
	if err := retry(func() error { return h.handle.LinkAdd(c.link(nil)) }); err != nil {
		return fmt.Errorf("make %s: %w", c.Name, err)
	}
	err := h.inside(func() error {
		for _, s := range settings {
			if err := s.write(); err != nil && !missing(err) {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return h.markUp(c.Name, c.Alias)
	}
	if link, lookErr := h.link(c.Name); lookErr == nil {
		err = errors.Join(err, h.handle.LinkDel(link))
	}
	return err
}

func (c SubInterface) link(namespace any) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr, attrs.MTU, attrs.Namespace = c.Name, c.Parent, c.MAC, c.MTU, namespace
	if c.Flag == "" {
		return &netlink.Macvlan{LinkAttrs: attrs, Mode: map[string]netlink.MacvlanMode{"bridge": netlink.MACVLAN_MODE_BRIDGE,
			"private": netlink.MACVLAN_MODE_PRIVATE, "vepa": netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU}[c.Mode]}
	}
	attrs.HardwareAddr = nil // all have the parent's
	return &netlink.IPVlan{LinkAttrs: attrs,
		Mode: map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S}[c.Mode],
		Flag: map[string]netlink.IPVlanFlag{"bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE,
			"vepa": netlink.IPVLAN_FLAG_VEPA}[c.Flag]}
}

// AddVLAN makes an 802.1Q sub-interface of a link, with an alias, and sets it up. The kernel may lack them: EOPNOTSUPP. It has another
// name until it has the alias, by which whoever was interrupted knows its own.
func (h *Host) AddVLAN(name, until string, parent, vlan int, alias string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = until, parent
	link := &netlink.Vlan{LinkAttrs: attrs, VlanId: vlan, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := retry(func() error { return h.handle.LinkAdd(link) }); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	made, err := h.link(until)
	if err == nil {
		err = retry(func() error { return h.handle.LinkSetAlias(made, alias) })
	}
	if err == nil {
		err = retry(func() error { return h.handle.LinkSetName(made, name) })
	}
	if err != nil {
		return errors.Join(fmt.Errorf("name %s: %w", name, err), h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: until}}))
	}
	return h.SetUp(name)
}

// AddDummy makes a link that leads nowhere and has a carrier, for children that only talk to each other: a dummy, or where the kernel
// has none, a pair of which nobody uses the other end.
func (h *Host) AddDummy(name, alias string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := retry(func() error { return h.handle.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		other := islandEnd(name)
		if err = retry(func() error { return h.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: other}) }); err == nil {
			err = h.markUp(other, alias)
		}
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return h.markUp(name, alias)
}

// islandEnd names the other end of an island that is a pair.
func islandEnd(name string) string { return "x" + name[1:] }

// markUp writes an alias on a link that was just made and sets it up. A link that cannot be is deleted.
func (h *Host) markUp(name, alias string) error {
	link, err := h.link(name)
	if err == nil {
		err = errors.Join(retry(func() error { return h.handle.LinkSetAlias(link, alias) }), retry(func() error { return h.handle.LinkSetUp(link) }))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("set %s up: %w", name, err), h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	return nil
}

// LinkAt answers the link with an index; false if there is none.
func (h *Host) LinkAt(index int) (Link, bool, error) {
	l, err := retried(func() (netlink.Link, error) { return h.handle.LinkByIndex(index) })
	if missing(err) {
		return Link{}, false, nil
	}
	if err != nil {
		return Link{}, false, fmt.Errorf("look up link %d: %w", index, err)
	}
	return linkOf(l), true, nil
}

// Wireless tells whether a link is a wireless one.
func (h *Host) Wireless(name string) bool {
	found := false
	_ = h.inside(func() error {
		for _, entry := range []string{"wireless", "phy80211"} {
			if _, err := os.Stat("/sys/class/net/" + name + "/" + entry); err == nil {
				found = true
			}
		}
		return nil
	})
	return found
}

// Child answers the interface of a name in the namespace, with the index of its parent; false if there is none.
func (n *Namespace) Child(name string) (parent int, mac net.HardwareAddr, ok bool, err error) {
	l, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if missing(err) {
		return 0, nil, false, nil
	}
	if err != nil {
		return 0, nil, false, fmt.Errorf("look up %s: %w", name, err)
	}
	return l.Attrs().ParentIndex, l.Attrs().HardwareAddr, true, nil
}

// SubInterfaces are the macvlan and ipvlan interfaces of the namespace.
func (n *Namespace) SubInterfaces() ([]Link, error) {
	all, err := retried(n.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var out []Link
	for _, l := range all {
		if l.Type() == "macvlan" || l.Type() == "ipvlan" {
			out = append(out, linkOf(l))
		}
	}
	return out, nil
}

// DeleteChild takes an interface out of the namespace. No error if it is not there.
func (n *Namespace) DeleteChild(name string) error {
	l, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err == nil {
		err = retry(func() error { return n.handle.LinkDel(l) })
	}
	if missing(err) {
		return nil
	}
	return wrap("delete "+name, err)
}

// AwaitUp waits until an interface passes packets on. One whose parent has no carrier does not get there, and is left as it is.
func (n *Namespace) AwaitUp(name string) error {
	return awaitUp(n.handle, name, time.Now().Add(carrierLimit))
}
