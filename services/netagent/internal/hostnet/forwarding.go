package hostnet

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/bridgenf"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// EnableForwarding enables forwarding between containers and other hosts.
//
// The kernel checks the interface on which a packet arrives. Besides the bridges, each interface
// that receives connections to published ports, or responses, must forward. Docker sets
// net.ipv4.ip_forward=1. This also affects interfaces without an address and those created later
// for other purposes, and changes how the host treats redirects. Fairlead enables forwarding only
// on interfaces with an address.
//
// If the host forwards already, only the bridges are changed. The former values are stored.
func (h *Host) EnableForwarding() error {
	if h.noForwarding {
		return nil
	}

	var bridges, adopted []string // the former values of adopted bridges are stored
	ipv6 := false
	for _, n := range h.store.Networks() {
		if n.Bridge().Device == "" || !natclient.IsActive(n) {
			continue
		}
		if ipv6 = ipv6 || n.HasIPv6(); n.Status.AdoptedBridge {
			adopted = append(adopted, n.Bridge().Device)
		} else {
			bridges = append(bridges, n.Bridge().Device)
		}
	}

	err := h.forwardFamily(bridges, adopted, false, "net/ipv4/ip_forward", forwarding)
	if err == nil && ipv6 {
		err = h.forwardIPv6(bridges, adopted)
	}

	return fault.Wrap(err, fault.Internal, "forwarding", "cannot be enabled")
}

// EnableForwardingOf enables forwarding for a new network. The host's own interfaces already forward if
// there are other networks.
func (h *Host) EnableForwardingOf(n store.Network) error {
	if h.noForwarding || n.Bridge().Device == "" || !natclient.IsActive(n) {
		return nil
	}

	others := func(ipv6 bool) bool {
		return h.store.AnyNetwork(func(o *store.Network) bool {
			return o.ID != n.ID && o.Bridge().Device != "" && natclient.IsActive(*o) && (!ipv6 || o.HasIPv6())
		})
	}

	if !others(false) || n.HasIPv6() && !others(true) {
		return h.EnableForwarding()
	}

	if n.Status.AdoptedBridge {
		return h.EnableForwarding() // stores the former value
	}

	all := []kernel.Sysctl{{Path: forwarding(n.Bridge().Device), Value: "1"}}
	if n.HasIPv6() {
		// otherwise the whole host forwards
		if _, err := h.kernel.ReadSysctl(forwarding6(n.Bridge().Device)); err == nil {
			all = append(all, kernel.Sysctl{Path: forwarding6(n.Bridge().Device), Value: "1"})
		}
	}

	return fault.Wrap(h.forwardBridges(all), fault.Internal, "forwarding", "cannot be enabled")
}

// forwardBridges enables forwarding on our own bridges. The former values are not stored, since the
// bridges are deleted with their networks.
func (h *Host) forwardBridges(all []kernel.Sysctl) error {
	var errs []error
	for _, s := range all {
		// being recreated
		if _, err := h.kernel.ApplySysctls([]kernel.Sysctl{s}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forwarding returns the sysctl that enables IPv4 forwarding on one interface.
func forwarding(link string) string { return "net/ipv4/conf/" + link + "/forwarding" }

// forwarding6 returns the sysctl that enables IPv6 forwarding on one interface.
func forwarding6(link string) string { return "net/ipv6/conf/" + link + "/force_forwarding" }

// forwardFamily enables forwarding of one family on the bridges and, unless the whole host
// forwards, on all interfaces with an address.
func (h *Host) forwardFamily(
	bridges, adopted []string, ipv6 bool, global string, perLink func(link string) string,
) error {
	on, err := h.kernel.ReadSysctl(global)
	if err != nil {
		return err
	}

	var all []kernel.Sysctl
	for _, b := range bridges {
		all = append(all, kernel.Sysctl{Path: perLink(b), Value: "1"})
	}
	if err := h.forwardBridges(all); err != nil || on == "1" {
		return err
	}

	links, err := h.kernel.AddressedLinks(ipv6)
	if err != nil {
		return err
	}

	all = nil
	for _, l := range slices.Concat(adopted, links) {
		if !slices.Contains(bridges, l) {
			all = append(all, kernel.Sysctl{Path: perLink(l), Value: "1"})
		}
	}

	return h.applySysctls(all, bridges)
}

// forwardIPv6 enables IPv6 forwarding. Before Linux 6.17, only the whole host can forward.
// Interfaces that accept router advertisements must then be set to 2, or the host loses its default
// route.
func (h *Host) forwardIPv6(bridges, adopted []string) error {
	const global = "net/ipv6/conf/all/forwarding"
	if _, err := h.kernel.ReadSysctl(forwarding6("all")); err == nil {
		return h.forwardFamily(bridges, adopted, true, global, forwarding6)
	}

	links, err := h.kernel.Links()
	if err != nil {
		return err
	}

	var all []kernel.Sysctl
	for _, l := range links {
		path := "net/ipv6/conf/" + l.Name + "/accept_ra"
		if v, err := h.kernel.ReadSysctl(path); err == nil && v == "1" {
			all = append(all, kernel.Sysctl{Path: path, Value: "2"})
		}
	}

	return h.applySysctls(append(all, kernel.Sysctl{Path: global, Value: "1"}), bridges)
}

// applySysctls writes the host sysctls that differ and stores their former values.
func (h *Host) applySysctls(all []kernel.Sysctl, bridges []string) error {
	var todo []kernel.Sysctl
	var notes []store.Sysctl
	for _, s := range all {
		before, err := h.kernel.ReadSysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) || before == s.Value {
			continue // the link is gone, or already set
		}
		if err != nil {
			return err
		}
		todo, notes = append(todo, s), append(notes, store.Sysctl{Path: s.Path, Original: before, Current: s.Value})
	}

	if len(todo) == 0 {
		return nil
	}
	if err := h.store.RecordSysctls(notes...); err != nil {
		return err
	}

	changes, err := h.kernel.ApplySysctls(todo)
	h.log.Info("sysctls changed", "changes", changes, "bridges", bridges)
	return err
}

// callNetfilter holds the sysctls that pass bridged packets through netfilter, on all bridges of
// the host. They exist, and default to 1, if br_netfilter is loaded. The attribute of a bridge can
// only add to them. With them on, a translated connection to a container on the same bridge never
// reaches the host's IP layer: isolated ports block it, and [::1] does not work.
var callNetfilter = [...]string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"}

// DisableBridgeNetfilter disables netfilter for bridged packets if the new bridge is the only one
// of the host and no other program needs it.
//
// Other programs are another bridge, a sysctl configuration, or Kubernetes (package bridgenf). It
// runs only when a bridge is created, so a program can enable it later.
func (h *Host) DisableBridgeNetfilter(n network.Network) error {
	exists := func(name string) bool { // after a boot, stored bridges do not exist yet
		_, ok, err := h.kernel.Link(name)
		return ok && err == nil
	}

	if h.store.AnyNetwork(func(o *store.Network) bool {
		return o.ID != n.ID && o.Bridge().Device != "" &&
			natclient.IsActive(*o) && exists(o.Bridge().Device)
	}) {
		return nil // another network has a bridge
	}

	links, err := h.kernel.Links()
	if err != nil {
		return err
	}

	if slices.ContainsFunc(links, func(l kernel.Link) bool {
		return l.Kind == "bridge" &&
			l.Name != n.Bridge().Device
	}) {
		return nil
	}

	if why := bridgenf.Needed(h.root); why != "" {
		h.log.Info("bridge netfilter unchanged, another program needs it", "reason", why)
		return nil
	}

	return h.applySysctls([]kernel.Sysctl{{Path: callNetfilter[0], Value: "0"}, {Path: callNetfilter[1],
		Value: "0"}}, []string{n.Bridge().Device})
}
