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

// ErrNotBridge reports that a link with the name of a bridge has another type.
var ErrNotBridge = errors.New("link exists and is not a bridge")

// Bridge is the desired state of a bridge.
type Bridge struct {
	Name      string
	MAC       net.HardwareAddr // fixed, so that it does not change with the ports; nil keeps the current one
	Alias     string           // identifies a bridge that another program renamed; empty: none
	MTU       int
	Addresses []netip.Prefix // other addresses of the same family are removed, except link-local ones
	Adopted   bool           // used by other programs too, so that their addresses stay
}

// EnsureBridge creates or reconciles a bridge and returns the changes it made.
func (h *Host) EnsureBridge(want Bridge) (changes []string, created bool, err error) {
	link, err := h.link(want.Name)
	if missing(err) && want.Alias != "" {
		if was, rerr := h.adoptRenamed(want.Name, want.Alias); rerr != nil {
			return nil, false, rerr
		} else if was != "" {
			changes = append(changes, "name, was "+was)
			link, err = h.link(want.Name)
		}
	}

	if missing(err) {
		if err := h.addBridge(want); err != nil {
			return nil, false, fmt.Errorf("create bridge %s: %w", want.Name, err)
		}
		changes, created = append(changes, "created"), true
		link, err = h.link(want.Name)
	}

	if err != nil {
		return changes, created, fmt.Errorf("look up %s: %w", want.Name, err)
	}

	if link.Type() != "bridge" {
		return changes, created, fmt.Errorf("%s: %w (%s)", want.Name, ErrNotBridge, link.Type())
	}

	for _, step := range []func(netlink.Link, Bridge) ([]string, error){h.fixAlias, h.fixMAC, h.fixMTU, h.fixIPv6,
		h.fixAddresses, h.fixUp, h.fixRoutes} {
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

// fixAlias sets the alias. It is not reported as a change.
func (h *Host) fixAlias(l netlink.Link, want Bridge) ([]string, error) {
	if want.Alias == "" || l.Attrs().Alias == want.Alias {
		return nil, nil
	}
	return nil, wrap("set alias", retry(func() error { return h.handle.LinkSetAlias(l, want.Alias) }))
}

func (h *Host) fixMAC(l netlink.Link, want Bridge) ([]string, error) {
	if want.MAC == nil || bytes.Equal(l.Attrs().HardwareAddr, want.MAC) {
		return nil, nil
	}
	err := retry(func() error { return h.handle.LinkSetHardwareAddr(l, want.MAC) })
	return []string{fmt.Sprintf("MAC %s, was %s", want.MAC, l.Attrs().HardwareAddr)}, wrap("set MAC", err)
}

// fixMTU sets the MTU after the creation: only then the bridge keeps it when its ports change.
func (h *Host) fixMTU(l netlink.Link, want Bridge) ([]string, error) {
	if l.Attrs().MTU == want.MTU {
		return nil, nil
	}
	err := retry(func() error { return h.handle.LinkSetMTU(l, want.MTU) })
	return []string{fmt.Sprintf("MTU %d, was %d", want.MTU, l.Attrs().MTU)}, wrap("set MTU", err)
}

// fixIPv6 disables router advertisement processing and enables IPv6 if the bridge needs it.
// Otherwise a container could change the host's routes.
func (h *Host) fixIPv6(_ netlink.Link, want Bridge) ([]string, error) {
	conf := "net/ipv6/conf/" + want.Name + "/"
	wanted := []Sysctl{{conf + "accept_ra", "0"}}
	if slices.ContainsFunc(want.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		wanted = append(wanted, Sysctl{conf + "disable_ipv6", "0"})
	} else if _, err := h.ReadSysctl(conf + "accept_ra"); err != nil {
		return nil, nil // the kernel has no IPv6
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

// fixRoutes adds missing routes to the subnets of the bridge.
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
					continue // the address was removed meanwhile, which causes an event of its own
				}
				return changes, err
			}
			changes = append(changes, "route to "+p.Masked().String())
		}
	}

	return changes, nil
}

// fixAddresses adds missing addresses and removes other ones, in each family that want contains.
func (h *Host) fixAddresses(l netlink.Link, want Bridge) (changes []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		wanted := slices.DeleteFunc(slices.Clone(want.Addresses), func(p netip.Prefix) bool {
			return familyOf(p.Addr()) != family
		})
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
	for _, p := range wanted { // first, so that an address stays present while its prefix length changes
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
		if err := retry(func() error {
			return h.handle.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)})
		}); err != nil && !missing(err) {
			return changes, fmt.Errorf("remove address %s: %w", p, err)
		}
		changes = append(changes, "without address "+p.String())
	}

	return changes, nil
}

// EnableRouteLocalnet allows DNAT of the host's loopback connections to containers behind a bridge.
// Packets from 127.0.0.0/8 may leave through the bridge, and responses to ::1 are delivered. The
// loopback rules of natagent must exist before.
func (h *Host) EnableRouteLocalnet(bridge string, ipv6 bool) (changes []string, err error) {
	changes, err = h.ApplySysctls([]Sysctl{{"net/ipv4/conf/" + bridge + "/route_localnet", "1"}})
	if err != nil || !ipv6 {
		return changes, err
	}

	link, err := h.link(bridge)
	if err != nil {
		return changes, fmt.Errorf("look up %s: %w", bridge, err)
	}

	// Appended, not added: each bridge has one such route in addition to that of lo.
	loopback := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(loopback), Table: unix.RT_TABLE_LOCAL,
		Type: unix.RTN_LOCAL}
	switch err := retry(func() error { return h.handle.RouteAppend(route) }); {
	case errors.Is(err, unix.EEXIST):
		return changes, nil
	case err != nil:
		return changes, fmt.Errorf("route ::1 over %s: %w", bridge, err)
	}

	return append(changes, "route local ::1"), nil
}

// DisableRouteLocalnet reverts EnableRouteLocalnet. It does nothing if the bridge does not exist.
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
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(loopback), Table: unix.RT_TABLE_LOCAL,
		Type: unix.RTN_LOCAL}
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
