package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNotBridge says that a link has the wanted name but is no bridge.
var ErrNotBridge = errors.New("a link of that name is there and is no bridge")

// Bridge is how a bridge shall be.
type Bridge struct {
	Name      string
	MAC       net.HardwareAddr // set explicitly, so that it does not follow the ports'; nil: as it is
	MTU       int
	Addresses []netip.Prefix // its own; others of the same family are taken off, except link-local ones
	Adopted   bool           // others use it as well: their addresses stay
}

// EnsureBridge makes the bridge, or puts right what is wrong with it. It tells what it had to do, nothing if all was right.
func (h *Host) EnsureBridge(want Bridge) (changes []string, created bool, err error) {
	link, err := h.link(want.Name)
	if missing(err) && want.MAC != nil {
		if was, rerr := h.adoptRenamed(want.Name, want.MAC); rerr != nil {
			return nil, false, rerr
		} else if was != "" {
			changes = append(changes, "name, was "+was)
			link, err = h.link(want.Name)
		}
	}
	if missing(err) {
		if err := h.addBridge(want); err != nil {
			return nil, false, fmt.Errorf("make bridge %s: %w", want.Name, err)
		}
		changes, created = append(changes, "made"), true
		link, err = h.link(want.Name)
	}
	if err != nil {
		return changes, created, fmt.Errorf("look up %s: %w", want.Name, err)
	}
	if link.Type() != "bridge" {
		return changes, created, fmt.Errorf("%s: %w (%s)", want.Name, ErrNotBridge, link.Type())
	}
	for _, step := range []func(netlink.Link, Bridge) ([]string, error){h.fixMAC, h.fixMTU, h.fixIPv6, h.fixAddresses, h.fixUp, h.fixRoutes} {
		done, err := step(link, want)
		changes = append(changes, done...)
		if err != nil {
			return changes, created, fmt.Errorf("bridge %s: %w", want.Name, err)
		}
	}
	return changes, created, nil
}

func (h *Host) link(name string) (netlink.Link, error) {
	return retried(func() (netlink.Link, error) { return h.handle.LinkByName(name) })
}

func (h *Host) addBridge(want Bridge) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = want.Name, want.MAC
	return retry(func() error { return h.handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}) })
}

func (h *Host) fixMAC(l netlink.Link, want Bridge) ([]string, error) {
	if want.MAC == nil || bytes.Equal(l.Attrs().HardwareAddr, want.MAC) {
		return nil, nil
	}
	err := retry(func() error { return h.handle.LinkSetHardwareAddr(l, want.MAC) })
	return []string{fmt.Sprintf("MAC %s, was %s", want.MAC, l.Attrs().HardwareAddr)}, wrap("set MAC", err)
}

// fixMTU sets the MTU after the making: only then the bridge keeps it when its ports change.
func (h *Host) fixMTU(l netlink.Link, want Bridge) ([]string, error) {
	if l.Attrs().MTU == want.MTU {
		return nil, nil
	}
	err := retry(func() error { return h.handle.LinkSetMTU(l, want.MTU) })
	return []string{fmt.Sprintf("MTU %d, was %d", want.MTU, l.Attrs().MTU)}, wrap("set MTU", err)
}

// fixIPv6 keeps containers from telling the host where to route (router advertisements on the bridge are for containers at
// most), and turns IPv6 on where the bridge has an address of it.
func (h *Host) fixIPv6(_ netlink.Link, want Bridge) ([]string, error) {
	conf := "net/ipv6/conf/" + want.Name + "/"
	wanted := []Sysctl{{conf + "accept_ra", "0"}}
	if slices.ContainsFunc(want.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		wanted = append(wanted, Sysctl{conf + "disable_ipv6", "0"})
	} else if _, err := h.ReadSysctl(conf + "accept_ra"); err != nil {
		return nil, nil // a kernel without IPv6 needs no protection from it
	}
	return h.ApplySysctls(wanted)
}

func (h *Host) fixUp(l netlink.Link, _ Bridge) ([]string, error) {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil, nil
	}
	err := retry(func() error { return h.handle.LinkSetUp(l) })
	return []string{"up"}, wrap("set up", err)
}

// fixRoutes adds the routes to the bridge's subnets that are lost.
func (h *Host) fixRoutes(l netlink.Link, want Bridge) ([]string, error) {
	var changes []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		wanted := slices.DeleteFunc(slices.Clone(want.Addresses), func(p netip.Prefix) bool {
			return familyOf(p.Addr()) != family || p.IsSingleIP() || p.Addr().IsLinkLocalUnicast()
		})
		if len(wanted) == 0 {
			continue
		}
		have, err := h.routesBy(l.Attrs().Index, family)
		if err != nil {
			return changes, err
		}
		for _, p := range wanted {
			if have[p.Masked()] {
				continue
			}
			if err := addConnected(h.handle, l.Attrs().Index, p); err != nil {
				if has, herr := h.addresses(l.Attrs().Index, family); herr == nil && !slices.Contains(has, p) {
					continue // the address was removed meanwhile, which is reported too
				}
				return changes, err
			}
			changes = append(changes, "route to "+p.Masked().String())
		}
	}
	return changes, nil
}

// fixAddresses adds the bridge's addresses and takes off others, in each family that it has.
func (h *Host) fixAddresses(l netlink.Link, want Bridge) (changes []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		wanted := slices.DeleteFunc(slices.Clone(want.Addresses), func(p netip.Prefix) bool { return familyOf(p.Addr()) != family })
		if len(wanted) == 0 {
			continue
		}
		have, err := h.addresses(l.Attrs().Index, family)
		if err != nil {
			return changes, err
		}
		done, err := h.moveAddresses(l, have, wanted, want.Adopted)
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

func (h *Host) moveAddresses(l netlink.Link, have, wanted []netip.Prefix, shared bool) (changes []string, err error) {
	for _, p := range wanted { // first, so that an address whose length changes is there all the time
		if slices.Contains(have, p) {
			continue
		}
		if err := addAddress(h.handle, l.Attrs().Index, p); err != nil {
			return changes, err
		}
		changes = append(changes, "address "+p.String())
	}
	for _, p := range have {
		if shared || slices.Contains(wanted, p) || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := retry(func() error { return h.handle.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)}) }); err != nil && !missing(err) {
			return changes, fmt.Errorf("take address %s off: %w", p, err)
		}
		changes = append(changes, "without address "+p.String())
	}
	return changes, nil
}

// EnableRouteLocalnet lets the host's loopback connections be translated to containers behind the bridge: packets from 127.0.0.0/8
// may leave by it, and answers to ::1 are found again. The loopback guards of natagent must be in place before.
func (h *Host) EnableRouteLocalnet(bridge string, ipv6 bool) (changes []string, err error) {
	changes, err = h.ApplySysctls([]Sysctl{{"net/ipv4/conf/" + bridge + "/route_localnet", "1"}})
	if err != nil || !ipv6 {
		return changes, err
	}
	link, err := h.link(bridge)
	if err != nil {
		return changes, fmt.Errorf("look up %s: %w", bridge, err)
	}
	// Appended, not added: each bridge has one such route beside lo's own.
	loopback := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(loopback), Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	switch err := retry(func() error { return h.handle.RouteAppend(route) }); {
	case errors.Is(err, unix.EEXIST):
		return changes, nil
	case err != nil:
		return changes, fmt.Errorf("route ::1 over %s: %w", bridge, err)
	}
	return append(changes, "route local ::1"), nil
}

// DisableRouteLocalnet closes a bridge to the host's loopback again. No error if it is closed, or gone.
func (h *Host) DisableRouteLocalnet(bridge string) error {
	link, err := h.link(bridge)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", bridge, err)
	}
	_, err = h.ApplySysctls([]Sysctl{{"net/ipv4/conf/" + bridge + "/route_localnet", "0"}})
	loopback := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(loopback), Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	if rerr := retry(func() error { return h.handle.RouteDel(route) }); rerr != nil && !errors.Is(rerr, unix.ESRCH) {
		err = errors.Join(err, fmt.Errorf("route ::1 over %s: %w", bridge, rerr))
	}
	return err
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
