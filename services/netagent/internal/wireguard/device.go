package wireguard

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// ErrForeign means that another link has the name of a device.
var ErrForeign = errors.New("exists and is not a WireGuard device of fairlead")

// ErrMissing is returned if the kernel has no WireGuard.
var ErrMissing = errors.New("the kernel has no module wireguard")

// missing reports whether an error means that the object does not exist.
func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.ESRCH)
}

// Ensure creates or reconciles a device and returns the changes. It removes no peer: Prune does, after
// no route needs it.
func (h *Host) Ensure(want Device) (changes []string, err error) {
	s, err := h.open()
	if err != nil {
		return nil, err
	}
	defer s.close()

	link, err := s.find(want.Name, want.Alias)
	if missing(err) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = want.Name, want.MTU
		if err := s.links.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
			return nil, fmt.Errorf("create WireGuard device %s: %w", want.Name, err)
		}
		changes = append(changes, want.Name+" created")
		link, err = s.find(want.Name, want.Alias)
	}
	if err != nil {
		return changes, err
	}

	for _, step := range []func(netlink.Link, Device) ([]string, error){s.fixAlias, s.fixMTU, s.fixSysctls,
		s.fixAddress, s.configure, s.fixUp} {
		done, err := step(link, want)
		changes = append(changes, done...)
		if err != nil {
			return changes, fmt.Errorf("WireGuard device %s: %w", want.Name, err)
		}
	}
	return changes, nil
}

// find returns a device, or ErrForeign if the name belongs to another link.
func (s sockets) find(name, alias string) (netlink.Link, error) {
	link, err := s.links.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	if a := link.Attrs().Alias; link.Type() != "wireguard" || a != "" && a != alias {
		return nil, fmt.Errorf("%s: %w (%s)", name, ErrForeign, link.Type())
	}
	return link, nil
}

func (s sockets) fixAlias(l netlink.Link, want Device) ([]string, error) {
	if l.Attrs().Alias == want.Alias {
		return nil, nil
	}
	return []string{want.Name + " alias"}, s.links.LinkSetAlias(l, want.Alias)
}

func (s sockets) fixMTU(l netlink.Link, want Device) ([]string, error) {
	if l.Attrs().MTU == want.MTU {
		return nil, nil
	}
	return []string{fmt.Sprintf("%s MTU %d, was %d", want.Name, want.MTU, l.Attrs().MTU)},
		s.links.LinkSetMTU(l, want.MTU)
}

func (s sockets) fixUp(l netlink.Link, want Device) ([]string, error) {
	if l.Attrs().RawFlags&unix.IFF_UP != 0 {
		return nil, nil
	}
	err := s.links.LinkSetUp(l)
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("another program uses UDP port %d: %w", want.Port, err)
	}
	return []string{want.Name + " up"}, err
}

// fixSysctls makes the device forward. WireGuard itself checks the sources. The reverse path filter
// must not be strict, as packets can arrive on another device than the one that they are routed to.
func (s sockets) fixSysctls(_ netlink.Link, want Device) (changes []string, err error) {
	v4, v6 := "net/ipv4/conf/"+want.Name+"/", "net/ipv6/conf/"+want.Name+"/"
	all := []kernel.Sysctl{{Path: v4 + "forwarding", Value: "1"}, {Path: v4 + "rp_filter", Value: "2"},
		{Path: v4 + "send_redirects", Value: "0"}, {Path: v4 + "accept_redirects", Value: "0"},
		{Path: v6 + "addr_gen_mode", Value: "1"}, {Path: v6 + "accept_ra", Value: "0"},
		{Path: v6 + "accept_redirects", Value: "0"}}
	if want.IPv6 {
		all = append(all, kernel.Sysctl{Path: v6 + "disable_ipv6", Value: "0"},
			kernel.Sysctl{Path: v6 + "force_forwarding", Value: "1"})
	}
	for _, sysctl := range all {
		done, serr := s.kernel.ApplySysctls([]kernel.Sysctl{sysctl})
		changes = append(changes, done...)
		if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, serr)
		}
	}
	return changes, err
}

// fixAddress adds the dummy address of RFC 7600. A reverse path filter that is not strict is
// nevertheless strict for a device without an address.
func (s sockets) fixAddress(l netlink.Link, want Device) ([]string, error) {
	dummy := &netlink.Addr{IPNet: netlink.NewIPNet(net.IPv4(192, 0, 0, 8)), Scope: unix.RT_SCOPE_LINK}
	err := s.links.AddrAdd(l, dummy)
	if errors.Is(err, unix.EEXIST) {
		return nil, nil
	}
	return []string{want.Name + " address"}, err
}

// configure makes keys, port and peers those of the device.
func (s sockets) configure(_ netlink.Link, want Device) ([]string, error) {
	have, err := s.devices.Device(want.Name)
	if err != nil {
		return nil, err
	}
	first, second, changes := difference(have, want, time.Now())
	if len(changes) == 0 {
		return nil, nil
	}
	if err := s.devices.ConfigureDevice(want.Name, first); err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("another program uses UDP port %d: %w", want.Port, err)
		}
		return nil, err
	}
	if second != nil {
		err = s.devices.ConfigureDevice(want.Name, *second)
	}
	return changes, err
}

// Prune removes all peers except some from a device.
func (h *Host) Prune(name string, keep []tunnelkey.Key) (changes []string, err error) {
	s, err := h.open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := s.devices.Device(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("WireGuard device %s: %w", name, err)
	}
	c, changes := surplus(have, keep)
	if len(changes) == 0 {
		return nil, nil
	}
	return changes, s.devices.ConfigureDevice(name, c)
}

// Remove deletes a device with its routes. It does nothing if the name belongs to another link, or to
// none.
func (h *Host) Remove(name, alias string) (changes []string, err error) {
	s, err := h.open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	link, err := s.find(name, alias)
	if missing(err) || errors.Is(err, ErrForeign) {
		return nil, nil
	}
	if err == nil {
		err = s.links.LinkDel(link)
	}
	if missing(err) {
		err = nil
	}
	return []string{name + " deleted"}, err
}
