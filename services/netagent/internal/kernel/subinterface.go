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

// SubInterface is a macvlan or ipvlan interface of a container.
type SubInterface struct {
	Name   string
	Parent int              // index of the parent interface
	MAC    net.HardwareAddr // macvlan only; nil: chosen by the kernel, in mode passthru that of the parent
	MTU    int              // 0: that of the parent
	Mode   string           // macvlan: bridge, private, vepa or passthru; ipvlan: l2, l3 or l3s
	Flag   string           // ipvlan: bridge, private or vepa; empty: macvlan
	Alias  string           // identifies the owner
}

// AddSubInterface creates the interface in the namespace, down. A parent that is a bridge port, or
// has sub-interfaces of the other type, causes EBUSY. The interface is created under a unique name,
// as kernels before 6.14 compare its name with the host's links. It gets its final name last, after
// its alias.
func (h *Host) AddSubInterface(c SubInterface, unique string, ns *Namespace) error {
	name := c.Name
	c.Name = unique
	if err := retry(func() error { return h.handle.LinkAdd(c.link(netlink.NsFd(ns.file.Fd()))) }); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}

	link, err := retried(func() (netlink.Link, error) { return ns.handle.LinkByName(unique) })
	if err == nil {
		err = retry(func() error { return ns.handle.LinkSetAlias(link, c.Alias) })
	}

	if err == nil {
		err = retry(func() error { return ns.handle.LinkSetName(link, name) })
	}

	if err != nil {
		return errors.Join(fmt.Errorf("rename to %s: %w", name, err), ns.DeleteChild(unique))
	}

	return nil
}

// AddHostChild creates the interface on the host and writes sysctls before it is up. IPv6 sysctls
// are skipped on a kernel without IPv6.
func (h *Host) AddHostChild(c SubInterface, settings []Sysctl) error {
	if err := retry(func() error { return h.handle.LinkAdd(c.link(nil)) }); err != nil {
		return fmt.Errorf("create %s: %w", c.Name, err)
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
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = c.Name, c.Parent, c.MAC
	attrs.MTU, attrs.Namespace = c.MTU, namespace
	if c.Flag == "" {
		return &netlink.Macvlan{LinkAttrs: attrs, Mode: map[string]netlink.MacvlanMode{
			"bridge":  netlink.MACVLAN_MODE_BRIDGE,
			"private": netlink.MACVLAN_MODE_PRIVATE,
			"vepa":    netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU}[c.Mode]}
	}

	attrs.HardwareAddr = nil // ipvlan interfaces have the parent's MAC
	return &netlink.IPVlan{LinkAttrs: attrs,
		Mode: map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3,
			"l3s": netlink.IPVLAN_MODE_L3S}[c.Mode],
		Flag: map[string]netlink.IPVlanFlag{"bridge": netlink.IPVLAN_FLAG_BRIDGE,
			"private": netlink.IPVLAN_FLAG_PRIVATE,
			"vepa":    netlink.IPVLAN_FLAG_VEPA}[c.Flag]}
}

// AddVLAN creates an 802.1Q device on a link, with an alias, and sets it up. Kernels without 802.1Q
// return EOPNOTSUPP. The device is named until before it has its alias, so that an interrupted
// creation can be recognized.
func (h *Host) AddVLAN(name, until string, parent, vlan int, alias string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = until, parent
	link := &netlink.Vlan{LinkAttrs: attrs, VlanId: vlan, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := retry(func() error { return h.handle.LinkAdd(link) }); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}

	made, err := h.link(until)
	if err == nil {
		err = retry(func() error { return h.handle.LinkSetAlias(made, alias) })
	}

	if err == nil {
		err = retry(func() error { return h.handle.LinkSetName(made, name) })
	}

	if err != nil {
		return errors.Join(fmt.Errorf("rename to %s: %w", name, err),
			h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: until}}))
	}

	return h.SetUp(name)
}

// AddDummy creates an isolated link with carrier, for sub-interfaces that only reach each other. It
// is a dummy link, or a veth pair with an unused peer if the kernel has no dummy links.
func (h *Host) AddDummy(name, alias string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := retry(func() error { return h.handle.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		other := dummyPeer(name)
		if err = retry(func() error {
			return h.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: other})
		}); err == nil {
			err = h.markUp(other, alias)
		}
	}

	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}

	return h.markUp(name, alias)
}

// dummyPeer returns the name of the unused peer of a veth pair from AddDummy.
func dummyPeer(name string) string { return "x" + name[1:] }

// markUp sets the alias of a new link and sets it up. It deletes the link on failure.
func (h *Host) markUp(name, alias string) error {
	link, err := h.link(name)
	if err == nil {
		err = errors.Join(retry(func() error {
			return h.handle.LinkSetAlias(link, alias)
		}), retry(func() error { return h.handle.LinkSetUp(link) }))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("set %s up: %w", name, err),
			h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	return nil
}

// LinkAt returns the link with an index; ok is false if it does not exist.
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

// Wireless reports whether a link is wireless.
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

// Child returns the parent index and MAC of a sub-interface; ok is false if it does not exist.
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

// SubInterfaces returns the macvlan and ipvlan interfaces of the namespace.
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

// DeleteChild deletes an interface of the namespace. It does nothing if the interface does not
// exist.
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

// AwaitUp waits until an interface has a carrier. It returns without an error if the parent has
// none.
func (n *Namespace) AwaitUp(name string) error {
	return awaitUp(n.handle, name, time.Now().Add(carrierLimit))
}
