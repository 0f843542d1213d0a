package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// SetMTU sets the MTU of a link; 0 keeps the current one.
func (h *Host) SetMTU(name string, mtu int) error {
	link, err := h.link(name)
	if err == nil {
		err = setMTU(h.handle, link, mtu)
	}
	return wrap("set MTU of "+name, err)
}

func setMTU(handle *netlink.Handle, link netlink.Link, mtu int) error {
	if mtu == 0 || link.Attrs().MTU == mtu {
		return nil
	}
	return retry(func() error { return handle.LinkSetMTU(link, mtu) })
}

// UpdateInterface sets the MTU of an interface and the prefix lengths of its addresses. An mtu of 0
// keeps the current one. IPv4 addresses stay present all the time, IPv6 addresses are missing for a
// moment. Connections and routes survive.
func (n *Namespace) UpdateInterface(name string, addresses []netip.Prefix, mtu int) error {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}

	if err := setMTU(n.handle, link, mtu); err != nil {
		return fmt.Errorf("set MTU of %s: %w", name, err)
	}

	have, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}

	var errs []error
	for _, p := range addresses {
		errs = append(errs, addAddress(n.handle, link.Attrs().Index, p))
	}

	for _, a := range have {
		old := prefixOf(a.IPNet)
		again := slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr() == old.Addr() && p != old })
		if again {
			// an IPv6 address with the old length is missing by now
			if err := retry(func() error { return n.handle.AddrDel(link, &a) }); !missing(err) {
				errs = append(errs, err)
			}
		}
	}

	return errors.Join(errs...)
}
