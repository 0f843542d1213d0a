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

// parentAlias is written on the parents that we make, and tells them from a user's.
const parentAlias = "fairlead:parent"

// parentState is what a parent was when it was last looked at.
type parentState struct {
	index     int
	up        bool
	addresses []netip.Prefix
}

// Check refuses a parent that cannot be one, before anything is made.
func (d *Driver) Check(n network.Network) error {
	if known, err := d.host.SupportsLink(n.Driver); err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot ask the kernel for "+n.Driver)
	} else if !known {
		return unknown(n)
	}
	if n.ParentIsOwn() {
		return nil
	}
	link, ok, err := d.host.Link(n.Parent)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its parent interface "+n.Parent)
	}
	if !ok {
		if link, err = d.baseOf(n); err != nil {
			return err
		}
	}
	return d.checkLink(n, link)
}

// checkLink refuses a link that can have no children, or of which those would not be heard.
func (d *Driver) checkLink(n network.Network, link kernel.Link) error {
	refuse := func(hint, format string, args ...any) error {
		return fault.New(fault.Invalid, n.Subject(), fmt.Sprintf(format, args...), fault.WithField("options"), fault.WithHint("%s", hint))
	}
	switch {
	case link.Loopback:
		return refuse("name a link to the LAN", "loopback interface is not a valid %s parent link", n.Driver)
	case link.Master != 0:
		master, _, _ := d.host.LinkAt(link.Master)
		return refuse("use "+master.Name+" itself as the parent", "parent interface %s is a port of %s, and a port can have no children", link.Name, master.Name)
	case n.MTU > link.MTU:
		return tooLong(n, link)
	case n.Driver == network.DriverMacvlan && d.host.Wireless(link.Name):
		return refuse("use the driver ipvlan, whose containers share the link's hardware address",
			"parent interface %s is wireless, and an access point takes no frames from other hardware addresses than the link's own", link.Name)
	}
	return nil
}

// baseOf finds the link that a parent which is not there is to be a VLAN of.
func (d *Driver) baseOf(n network.Network) (kernel.Link, error) {
	p, err := network.ParseParent(n.Driver, n.Parent)
	if err != nil {
		return kernel.Link{}, err
	}
	if p.VLAN == 0 {
		return kernel.Link{}, fault.New(fault.Invalid, n.Subject(), "parent interface "+n.Parent+" is not there, and no VLAN either: invalid subinterface vlan name "+n.Parent+
			", example formatting is eth0.10", fault.WithField("options"), fault.WithHint("name a link of the host, or a VLAN of one"))
	}
	link, ok, err := d.host.Link(p.Link)
	if err != nil || !ok {
		return link, fault.New(fault.Invalid, n.Subject(), fmt.Sprintf("link %s, on which the VLAN %d is to be, is not there", p.Link, p.VLAN),
			fault.WithCause(err), fault.WithField("options"))
	}
	return link, nil
}

// parent finds the network's parent: by its name, or if that is gone as the link that it was before it was renamed.
func (d *Driver) parent(n network.Network) (kernel.Link, bool, error) {
	link, ok, err := d.host.Link(n.Parent)
	if err != nil || ok {
		return link, ok, err
	}
	d.mu.Lock()
	was := d.seen[n.Parent]
	d.mu.Unlock()
	if was.index != 0 {
		if link, ok, err = d.host.LinkAt(was.index); err != nil || ok {
			return link, ok, err
		}
	}
	return d.sameVLAN(n)
}

// sameVLAN finds the VLAN that the network's parent names under another name: the kernel lets a link have one of each number.
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

// vlanOf reads the parent's name as a VLAN of a link that is there.
func (d *Driver) vlanOf(n network.Network) (base kernel.Link, vlan int, ok bool, err error) {
	p, err := network.ParseParent(n.Driver, n.Parent)
	if err != nil || p.VLAN == 0 {
		return base, 0, false, nil //nolint:nilerr // a name that says nothing of VLANs
	}
	base, ok, err = d.host.Link(p.Link)
	return base, p.VLAN, ok, err
}

// unmarked is the name of a VLAN of ours that is not known as such yet. One that is found under it was left by a maker that was killed.
func unmarked(base kernel.Link, vlan int) string { return fmt.Sprintf("fl%d.%d", base.Index, vlan) }

// Ensure makes the parent if it is ours to make, and sets ours up. It is new if it is another link than at the last look, is up
// where it was down, or has other addresses: then the endpoints must be looked at. One that is missing is waited for, and no error.
func (d *Driver) Ensure(n network.Network, _ bool) (changes []string, created bool, err error) {
	link, ok, err := d.parent(n)
	if ok && n.ParentIsOwn() && link.Alias != parentAlias {
		err, ok = d.host.DeleteLink(link.Index), false // its maker was killed
	}
	if err == nil && !ok {
		if err = d.createParent(n); err == nil {
			link, ok, err = d.host.Link(n.Parent)
		}
		if ok {
			changes = append(changes, "made "+n.Parent)
		}
	}
	if err != nil {
		return changes, false, fault.Wrap(err, fault.Internal, n.Subject(), "cannot make its parent interface "+n.Parent)
	}
	d.mu.Lock()
	was, known := d.seen[n.Parent]
	d.mu.Unlock()
	if !ok {
		if known && was.index != 0 {
			d.recordParent(n, parentState{})
			changes = append(changes, "parent interface "+n.Parent+" is gone")
		}
		return changes, false, nil
	}
	if link.Alias == parentAlias && !link.Up {
		if err := d.host.SetUp(link.Name); err != nil {
			return changes, false, fault.Wrap(err, fault.Internal, n.Subject(), "cannot set its parent interface up")
		}
		changes = append(changes, n.Parent+" up")
	}
	now := parentState{index: link.Index, up: link.Up}
	if now.addresses, err = d.host.UsableAddresses(link.Index); err != nil {
		return changes, false, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look at its parent interface")
	}
	d.recordParent(n, now)
	shim, err := d.ensureShim(n, link)
	changes = append(changes, shim...)
	return changes, was.index != now.index || was.up != now.up || !slices.Equal(was.addresses, now.addresses), err
}

func (d *Driver) recordParent(n network.Network, s parentState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[n.Parent] = s
}

// createParent makes a parent of the network's own, or the VLAN that it names. Any other is the user's to make.
func (d *Driver) createParent(n network.Network) error {
	if n.ParentIsOwn() {
		return d.host.AddDummy(n.Parent, parentAlias)
	}
	base, vlan, ok, err := d.vlanOf(n)
	if err != nil || !ok {
		return err
	}
	if err := d.deleteLink(unmarked(base, vlan)); err != nil {
		return err
	}
	err = d.host.AddVLAN(n.Parent, unmarked(base, vlan), base.Index, vlan, parentAlias)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fault.New(fault.Unavailable, n.Subject(), "the kernel has no VLANs", fault.WithField("options"),
			fault.WithHint("load or build them: modprobe 8021q (CONFIG_VLAN_8021Q)"))
	}
	return err
}

// Delete takes the network off the host: its way for the host, and the parent if we made it and no other network is on it.
func (d *Driver) Delete(n network.Network) error {
	err := d.deleteLink(shimName(n))
	for _, o := range d.networks() {
		if o.ID != n.ID && o.HasParent() && o.Parent == n.Parent {
			return fault.Wrap(err, fault.Internal, n.Subject(), "cannot be taken off the host")
		}
	}
	err = errors.Join(err, d.deleteParent(n))
	d.mu.Lock()
	delete(d.seen, n.Parent)
	d.mu.Unlock()
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot be taken off the host")
}

// deleteParent deletes the parent if we made it, or began to.
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

// deleteLink deletes a link whose name nobody else would give. No error if there is none.
func (d *Driver) deleteLink(name string) error {
	link, ok, err := d.host.Link(name)
	if err != nil || !ok {
		return err
	}
	return d.host.DeleteLink(link.Index)
}
