package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// UpWithoutAddress sets an interface without an address up and waits for its carrier. With ipv6 it
// gets a link-local address immediately. It ignores addresses and routes from router
// advertisements, which the DHCP client applies instead.
func (n *Namespace) UpWithoutAddress(name string, ipv6 bool) error {
	if !ipv6 {
		if err := disableIPv6(name); err != nil {
			return err
		}
	}

	for _, s := range []Sysctl{{"accept_ra", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}, {"dad_transmits", "0"},
		{"addr_gen_mode", "0"}} {
		s.Path = "net/ipv6/conf/" + name + "/" + s.Path
		if err := s.write(); ipv6 && err != nil {
			return err
		}
	}

	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}

	if err := n.setUp(link.Attrs().Index); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}

	return n.AwaitUp(name)
}

// LinkLocal returns the link-local IPv6 address of an interface. It waits a moment for the kernel
// to create it.
func (n *Namespace) LinkLocal(name string) (netip.Addr, error) {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look up %s: %w", name, err)
	}

	for end := time.Now().Add(carrierLimit); ; time.Sleep(time.Millisecond) {
		all, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_V6) })
		if err != nil {
			return netip.Addr{}, fmt.Errorf("list addresses of %s: %w", name, err)
		}
		for _, a := range all {
			if addr := prefixOf(a.IPNet).Addr(); addr.IsLinkLocalUnicast() {
				return addr, nil
			}
		}
		if time.Now().After(end) {
			return netip.Addr{}, fmt.Errorf("%s has no link-local address", name)
		}
	}
}
