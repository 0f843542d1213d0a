package reconcile

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/bridgenf"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// enableForwarding lets packets pass between containers and the rest of the world.
//
// The kernel asks the interface that a packet comes in by, so beside the bridges each interface by which somebody can reach a
// published port, and by which answers come back, must forward. Docker sets net.ipv4.ip_forward=1 for that, which also turns
// interfaces into routers that have no address and never see a container's packet, and those that are made later by others for
// their own ends, and changes how the host takes redirects. Here only those with an address forward. If the host forwards
// already, its interfaces are its owner's decision and none is touched but the bridges. What is changed is stored with what it
// was before.
func (r *Reconciler) enableForwarding() error {
	if r.NoForwarding {
		return nil
	}
	var bridges, others []string // others' that networks are on stay, and what they were is remembered
	ipv6 := false
	for _, n := range r.store.Networks() {
		if n.Bridge == "" || !isActive(n) {
			continue
		}
		if ipv6 = ipv6 || n.HasIPv6(); n.AdoptedBridge {
			others = append(others, n.Bridge)
		} else {
			bridges = append(bridges, n.Bridge)
		}
	}
	err := r.forwardFamily(bridges, others, false, "net/ipv4/ip_forward", forwarding)
	if err == nil && ipv6 {
		err = r.forwardIPv6(bridges, others)
	}
	return fault.Wrap(err, fault.Internal, "forwarding", "cannot be switched on")
}

// forwardNew is forward for a network that has come to others: the host's own interfaces forward since the first one came.
func (r *Reconciler) forwardNew(n store.Network) error {
	if r.NoForwarding || n.Bridge == "" || !isActive(n) {
		return nil
	}
	others := func(ipv6 bool) bool {
		return r.store.AnyNetwork(func(o *store.Network) bool {
			return o.ID != n.ID && o.Bridge != "" && isActive(*o) && (!ipv6 || o.HasIPv6())
		})
	}
	if !others(false) || n.HasIPv6() && !others(true) {
		return r.enableForwarding()
	}
	if n.AdoptedBridge {
		return r.enableForwarding() // which remembers how that was
	}
	all := []kernel.Sysctl{{Path: forwarding(n.Bridge), Value: "1"}}
	if n.HasIPv6() {
		if _, err := r.host.ReadSysctl(forwarding6(n.Bridge)); err == nil { // else the whole host forwards
			all = append(all, kernel.Sysctl{Path: forwarding6(n.Bridge), Value: "1"})
		}
	}
	return fault.Wrap(r.forwardBridges(all), fault.Internal, "forwarding", "cannot be switched on")
}

// forwardBridges lets our own bridges forward. That ends with them, so it is not remembered as what the host's parameters are.
func (r *Reconciler) forwardBridges(all []kernel.Sysctl) error {
	var errs []error
	for _, s := range all {
		if _, err := r.host.ApplySysctls([]kernel.Sysctl{s}); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is made again at once
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forwarding and forwarding6 are the switches of one interface.
func forwarding(link string) string  { return "net/ipv4/conf/" + link + "/forwarding" }
func forwarding6(link string) string { return "net/ipv6/conf/" + link + "/force_forwarding" }

func (r *Reconciler) forwardFamily(bridges, others []string, ipv6 bool, global string, perLink func(link string) string) error {
	on, err := r.host.ReadSysctl(global)
	if err != nil {
		return err
	}
	var all []kernel.Sysctl
	for _, b := range bridges {
		all = append(all, kernel.Sysctl{Path: perLink(b), Value: "1"})
	}
	if err := r.forwardBridges(all); err != nil || on == "1" {
		return err
	}
	links, err := r.host.AddressedLinks(ipv6)
	if err != nil {
		return err
	}
	all = nil
	for _, l := range slices.Concat(others, links) {
		if !slices.Contains(bridges, l) {
			all = append(all, kernel.Sysctl{Path: perLink(l), Value: "1"})
		}
	}
	return r.applySysctls(all, bridges)
}

// forwardIPv6 is forward's other family. Before Linux 6.17 IPv6 knows no forwarding by interface: the whole host forwards or does not.
// Then interfaces that take router advertisements must be told to go on with it, or the host loses its own default route.
func (r *Reconciler) forwardIPv6(bridges, others []string) error {
	const global = "net/ipv6/conf/all/forwarding"
	if _, err := r.host.ReadSysctl(forwarding6("all")); err == nil {
		return r.forwardFamily(bridges, others, true, global, forwarding6)
	}
	links, err := r.host.Links()
	if err != nil {
		return err
	}
	var all []kernel.Sysctl
	for _, l := range links {
		path := "net/ipv6/conf/" + l.Name + "/accept_ra"
		if v, err := r.host.ReadSysctl(path); err == nil && v == "1" {
			all = append(all, kernel.Sysctl{Path: path, Value: "2"})
		}
	}
	return r.applySysctls(append(all, kernel.Sysctl{Path: global, Value: "1"}), bridges)
}

// applySysctls writes those of the host's parameters that have another value, and remembers what they were.
func (r *Reconciler) applySysctls(all []kernel.Sysctl, bridges []string) error {
	var todo []kernel.Sysctl
	var notes []store.Sysctl
	for _, s := range all {
		before, err := r.host.ReadSysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) || before == s.Value {
			continue // the link is gone, or nothing is to do
		}
		if err != nil {
			return err
		}
		todo, notes = append(todo, s), append(notes, store.Sysctl{Path: s.Path, Original: before, Current: s.Value})
	}
	if len(todo) == 0 {
		return nil
	}
	if err := r.store.RecordSysctls(notes...); err != nil {
		return err
	}
	changes, err := r.host.ApplySysctls(todo)
	r.log.Info("host parameters changed for containers' traffic", "changes", changes, "bridges", bridges)
	return err
}

// callNetfilter are the switches that send bridged packets through netfilter, for all bridges of the host at once; a bridge's own
// attribute can only add to them. They are there if br_netfilter is loaded, and then on by default. With them on, a connection
// that is translated to a container on the same bridge never reaches the host's IP layer: isolated ports block it, and [::1]
// does not work.
var callNetfilter = [...]string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"}

// disableBridgeNetfilter turns these off when a network's new bridge is the only one of the host and no other program relies on them: they
// stay if there is another bridge, if a sysctl configuration sets them, or if the host is a Kubernetes node (package bridgenf). It
// happens when a bridge is created and never again: a program that turns them on later wins.
func (r *Reconciler) disableBridgeNetfilter(n network.Network) error {
	there := func(name string) bool { // after a boot those that are remembered are not there yet
		_, ok, err := r.host.Link(name)
		return ok && err == nil
	}
	if r.store.AnyNetwork(func(o *store.Network) bool { return o.ID != n.ID && o.Bridge != "" && isActive(*o) && there(o.Bridge) }) {
		return nil // its bridge is not the only one
	}
	links, err := r.host.Links()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(links, func(l kernel.Link) bool { return l.Kind == "bridge" && l.Name != n.Bridge }) {
		return nil
	}
	if why := bridgenf.Needed(r.Root); why != "" {
		r.log.Info("bridge netfilter unchanged, another program needs it", "reason", why)
		return nil
	}
	return r.applySysctls([]kernel.Sysctl{{Path: callNetfilter[0], Value: "0"}, {Path: callNetfilter[1], Value: "0"}}, []string{n.Bridge})
}
