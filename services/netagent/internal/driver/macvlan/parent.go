package macvlan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// parentAlias is the alias of parents that the driver created. It distinguishes them from the
// user's.
const parentAlias = "fairlead:parent"

// parentState is the last known state of a parent.
type parentState struct {
	index     int
	up        bool
	addresses []netip.Prefix
}

// Check rejects a network with an unusable parent before anything is created.
func (d *Driver) Check(n network.Network) error {
	if known, err := d.host.SupportsLink(n.Driver); err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot probe for "+n.Driver)
	} else if !known {
		return unknown(n)
	}

	if n.ParentIsOwn() {
		return nil
	}

	link, ok, err := d.host.Link(n.Parent().Link)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up parent interface "+n.Parent().Link)
	}

	if !ok {
		if link, err = d.baseOf(n); err != nil {
			return err
		}
	}

	return d.checkLink(n, link)
}

// checkLink rejects a link that cannot have sub-interfaces, or whose LAN would drop their frames.
func (d *Driver) checkLink(n network.Network, link kernel.Link) error {
	refuse := func(hint, format string, args ...any) error {
		return fault.New(fault.Invalid, n.Subject(), fmt.Sprintf(format, args...), fault.WithField("options"),
			fault.WithHint("%s", hint))
	}
	switch {
	case link.Loopback:
		return refuse("name a link to the LAN", "loopback interface is not a valid %s parent link", n.Driver)
	case link.Master != 0:
		master, _, _ := d.host.LinkAt(link.Master)
		return refuse("use "+master.Name+" itself as the parent",
			"parent interface %s is a port of %s and cannot have sub-interfaces", link.Name, master.Name)
	case n.Spec.MTU > link.MTU:
		return tooLong(n, link)
	case n.Driver == network.DriverMacvlan && d.host.Wireless(link.Name):
		return refuse("use the driver ipvlan, whose containers share the link's MAC address",
			"parent interface %s is wireless: access points drop frames from other MAC addresses", link.Name)
	}

	return nil
}

// baseOf returns the link below a parent that does not exist yet and is a VLAN device.
func (d *Driver) baseOf(n network.Network) (kernel.Link, error) {
	p, err := network.ParseParent(n.Driver, n.Parent().Link)
	if err != nil {
		return kernel.Link{}, err
	}

	if p.VLAN == 0 {
		return kernel.Link{}, fault.New(fault.Invalid, n.Subject(),
			"parent interface "+n.Parent().Link+" does not exist and is not a VLAN: invalid subinterface vlan name "+
				n.Parent().Link+
				", example formatting is eth0.10", fault.WithField("options"), fault.WithHint(
				"name a link of the host, or a VLAN of one"))
	}

	link, ok, err := d.host.Link(p.Link)
	if err != nil || !ok {
		return link, fault.New(fault.Invalid, n.Subject(),
			fmt.Sprintf("link %s of VLAN %d does not exist", p.Link, p.VLAN),
			fault.WithCause(err), fault.WithField("options"))
	}

	return link, nil
}

// parent returns the network's parent by name. If no link has the name, it returns the link that
// was renamed.
func (d *Driver) parent(n network.Network) (kernel.Link, bool, error) {
	link, ok, err := d.host.Link(n.Parent().Link)
	if err != nil || ok {
		return link, ok, err
	}

	d.mu.Lock()
	was := d.seen[n.Parent().Link]
	d.mu.Unlock()
	if was.index != 0 {
		if link, ok, err = d.host.LinkAt(was.index); err != nil || ok {
			return link, ok, err
		}
	}

	return d.sameVLAN(n)
}

// sameVLAN finds the network's VLAN device under another name. The kernel allows one device for
// each VLAN ID on a link.
func (d *Driver) sameVLAN(n network.Network) (kernel.Link, bool, error) {
	base, vlan, ok, err := d.vlanOf(n)
	if err != nil || !ok {
		return kernel.Link{}, false, err
	}
	links, err := d.host.Links()
	for _, l := range links {
		if l.Kind == "vlan" && l.Parent == base.Index && l.VLAN == vlan && l.Name != unmarked(base, vlan) {
			return l, true, nil
		}
	}
	return kernel.Link{}, false, err
}

// vlanOf parses the parent's name as a VLAN device of an existing link.
func (d *Driver) vlanOf(n network.Network) (base kernel.Link, vlan int, ok bool, err error) {
	p, err := network.ParseParent(n.Driver, n.Parent().Link)
	if err != nil || p.VLAN == 0 {
		return base, 0, false, nil //nolint:nilerr // not the name of a VLAN device
	}
	base, ok, err = d.host.Link(p.Link)
	return base, p.VLAN, ok, err
}

// unmarked returns the temporary name of a VLAN device without an alias. A device with such a name
// was left by an interrupted creation.
func unmarked(base kernel.Link, vlan int) string { return fmt.Sprintf("fl%d.%d", base.Index, vlan) }

// EnsureNetwork creates a parent that the driver manages and sets it up. created reports that the
// endpoints must be applied: the parent is another link than last time, is up after it was down, or
// has other addresses. A missing parent of the user is not an error.
func (d *Driver) EnsureNetwork(n network.Network, _ bool) (changes []string, created bool, err error) {
	link, ok, err := d.parent(n)
	if ok && n.ParentIsOwn() && link.Alias != parentAlias {
		err, ok = d.host.DeleteLink(link.Index), false // left by an interrupted creation
	}

	if err == nil && !ok {
		if err = d.createParent(n); err == nil {
			link, ok, err = d.host.Link(n.Parent().Link)
		}
		if ok {
			changes = append(changes, "created "+n.Parent().Link)
		}
	}

	if err != nil {
		return changes, false, fault.Wrap(err, fault.Internal, n.Subject(),
			"cannot create parent interface "+n.Parent().Link)
	}

	d.mu.Lock()
	was, known := d.seen[n.Parent().Link]
	d.mu.Unlock()
	if !ok {
		if known && was.index != 0 {
			d.recordParent(n, parentState{})
			changes = append(changes, "parent interface "+n.Parent().Link+" is missing")
		}
		return changes, false, nil
	}

	if link.Alias == parentAlias && !link.Up {
		if err := d.host.SetUp(link.Name); err != nil {
			return changes, false, fault.Wrap(err, fault.Internal, n.Subject(), "cannot set parent interface up")
		}
		changes = append(changes, n.Parent().Link+" up")
	}

	now := parentState{index: link.Index, up: link.Up}
	if now.addresses, err = d.host.UsableAddresses(link.Index); err != nil {
		return changes, false, fault.Wrap(err, fault.Internal, n.Subject(), "cannot inspect parent interface")
	}

	d.recordParent(n, now)
	shim, err := d.ensureShim(n, link)
	changes = append(changes, shim...)
	return changes, was.index != now.index || was.up != now.up || !slices.Equal(was.addresses, now.addresses), err
}

func (d *Driver) recordParent(n network.Network, s parentState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[n.Parent().Link] = s
}

// createParent creates the network's dummy link, or the VLAN device that the parent names. Other
// parents are the user's responsibility.
func (d *Driver) createParent(n network.Network) error {
	if n.ParentIsOwn() {
		return d.host.AddDummy(n.Parent().Link, parentAlias)
	}

	base, vlan, ok, err := d.vlanOf(n)
	if err != nil || !ok {
		return err
	}

	if err := d.deleteLink(unmarked(base, vlan)); err != nil {
		return err
	}

	err = d.host.AddVLAN(n.Parent().Link, unmarked(base, vlan), base.Index, vlan, parentAlias)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fault.New(fault.Unavailable, n.Subject(), "kernel has no VLANs", fault.WithField("options"),
			fault.WithHint("load or build them: modprobe 8021q (CONFIG_VLAN_8021Q)"))
	}

	return err
}

// DeleteNetwork deletes the shim and the parent of a network. The parent stays if the user created it or
// another network uses it.
func (d *Driver) DeleteNetwork(n network.Network) error {
	err := d.deleteLink(shimName(n))
	for _, o := range d.networks() {
		if o.ID != n.ID && o.HasParent() && o.Parent().Link == n.Parent().Link {
			return fault.Wrap(err, fault.Internal, n.Subject(), "cannot be removed from the host")
		}
	}
	err = errors.Join(err, d.deleteParent(n))
	d.mu.Lock()
	delete(d.seen, n.Parent().Link)
	d.mu.Unlock()
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot be removed from the host")
}

// deleteParent deletes the parent if the driver created it, completely or not.
func (d *Driver) deleteParent(n network.Network) error {
	link, ok, err := d.parent(n)
	if ok && (link.Alias == parentAlias || n.ParentIsOwn()) {
		err = d.host.DeleteLink(link.Index)
	}
	if base, vlan, ok, lookErr := d.vlanOf(n); ok {
		err = errors.Join(err, d.deleteLink(unmarked(base, vlan)))
	} else {
		err = errors.Join(err, lookErr)
	}
	return err
}

// deleteLink deletes a link with a name that only this driver uses. It does nothing if the link
// does not exist.
func (d *Driver) deleteLink(name string) error {
	link, ok, err := d.host.Link(name)
	if err != nil || !ok {
		return err
	}
	return d.host.DeleteLink(link.Index)
}
