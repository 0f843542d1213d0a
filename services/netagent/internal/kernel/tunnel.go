package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Tunnel is the desired state of the VXLAN device through which the containers of a host reach those
// of other hosts.
type Tunnel struct {
	Name  string
	Alias string // identifies the device as managed by Fairlead
	VNI   uint32
	Port  uint16     // UDP port of all hosts
	Local netip.Addr // underlay address of this host
	MAC   net.HardwareAddr
	MTU   int
	IPv6  bool // it also forwards IPv6
}

// ErrNotTunnel means that another link has the name of the tunnel.
var ErrNotTunnel = errors.New("exists and is not a VXLAN device of fairlead")

// EnsureTunnel creates or reconciles the device and returns the changes. A device with another VNI,
// port or local address is created again. It learns no addresses and has no default destination, so
// that only entries of SyncTunnel matter.
func (h *Host) EnsureTunnel(want Tunnel) (changes []string, err error) {
	link, err := h.link(want.Name)
	if err == nil {
		have, isVxlan := link.(*netlink.Vxlan)
		if !isVxlan || have.Alias != want.Alias && have.Alias != "" {
			return nil, fmt.Errorf("%s: %w (%s)", want.Name, ErrNotTunnel, link.Type())
		}
		if !want.matches(have) {
			if err := h.DeleteLink(have.Index); err != nil {
				return nil, err
			}
			changes = append(changes, "deleted, had other parameters")
			link, err = h.link(want.Name)
		}
	}

	if missing(err) {
		if err := h.addTunnel(want); err != nil {
			return changes, fmt.Errorf("create tunnel %s: %w", want.Name, err)
		}
		changes = append(changes, "created")
		link, err = h.link(want.Name)
	}

	if err != nil {
		return changes, fmt.Errorf("look up %s: %w", want.Name, err)
	}

	done, err := h.fixTunnel(link, want)
	return append(changes, done...), wrap("tunnel "+want.Name, err)
}

// matches reports whether a device has the parameters that cannot be changed.
func (t Tunnel) matches(have *netlink.Vxlan) bool {
	local, _ := netip.AddrFromSlice(have.SrcAddr)
	return have.VxlanId == int(t.VNI) && have.Port == int(t.Port) && local.Unmap() == t.Local && !have.Learning
}

func (h *Host) addTunnel(want Tunnel) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = want.Name, want.MAC, want.MTU
	return retry(func() error {
		return h.handle.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: int(want.VNI), Port: int(want.Port),
			SrcAddr: want.Local.AsSlice()})
	})
}

// fixTunnel reconciles what can be changed while the device is in use.
func (h *Host) fixTunnel(l netlink.Link, want Tunnel) (changes []string, err error) {
	shape := Bridge{Name: want.Name, Alias: want.Alias, MAC: want.MAC, MTU: want.MTU}
	for _, step := range []func(netlink.Link, Bridge) ([]string, error){h.fixAlias, h.fixMAC, h.fixMTU} {
		done, err := step(l, shape)
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}

	done, err := h.ApplySysctls(tunnelSysctls4(want.Name))
	changes = append(changes, done...)
	if err == nil {
		done, err = h.applyExisting(tunnelSysctls6(want.Name, want.IPv6))
		changes = append(changes, done...)
	}

	if err == nil {
		done, err = h.fixUp(l, shape)
		changes = append(changes, done...)
	}

	return changes, err
}

// tunnelSysctls4 returns the IPv4 settings of the device: it forwards. The firewall compares the sources of frames with
// the blocks of their host. rp_filter could not: ICMP errors of other hosts have addresses with a route through another
// device.
func tunnelSysctls4(name string) []Sysctl {
	conf := "net/ipv4/conf/" + name + "/"
	return []Sysctl{{conf + "forwarding", "1"}, {conf + "rp_filter", "0"}, {conf + "send_redirects", "0"},
		{conf + "accept_redirects", "0"}}
}

// tunnelSysctls6 returns the IPv6 settings of the device. It has no address of its own.
func tunnelSysctls6(name string, on bool) []Sysctl {
	conf := "net/ipv6/conf/" + name + "/"
	all := []Sysctl{{conf + "addr_gen_mode", "1"}, {conf + "accept_ra", "0"}, {conf + "accept_redirects", "0"}}
	if on {
		all = append(all, Sysctl{conf + "disable_ipv6", "0"}, Sysctl{conf + "force_forwarding", "1"})
	}
	return all
}

// applyExisting applies the sysctls that the kernel has.
func (h *Host) applyExisting(all []Sysctl) (changes []string, err error) {
	for _, s := range all {
		done, serr := h.ApplySysctls([]Sysctl{s})
		changes = append(changes, done...)
		if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, serr)
		}
	}
	return changes, err
}

// DeleteTunnel deletes the device with its entries and routes. It does nothing if the name belongs to
// another link, or to none.
func (h *Host) DeleteTunnel(name, alias string) error {
	link, err := h.link(name)
	if missing(err) || err == nil && (link.Type() != "vxlan" || link.Attrs().Alias != alias) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	return h.DeleteLink(link.Attrs().Index)
}

// sameMAC reports whether two hardware addresses are equal.
func sameMAC(a, b net.HardwareAddr) bool { return bytes.Equal(a, b) }
