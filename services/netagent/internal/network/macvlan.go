package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// The drivers whose containers have a sub-interface of a parent interface.
const (
	DriverMacvlan = "macvlan"
	DriverIPvlan  = "ipvlan"
)

// The options of macvlan and ipvlan networks, in Docker's keys.
const (
	OptParent      = "parent"
	OptMacvlanMode = "macvlan_mode"
	OptIPvlanMode  = "ipvlan_mode"
	OptIPvlanFlag  = "ipvlan_flag"
	OptShim        = "host_access"
	OptProbe       = "conflict_detection"
)

// The modes that netagent itself handles.
const (
	ModePassthru = "passthru"
	ModeL2       = "l2"
)

// The modes of macvlan, and the modes and flags of ipvlan, defaults first.
var (
	macvlanModes = []string{"bridge", "private", "vepa", ModePassthru}
	ipvlanModes  = []string{ModeL2, "l3", "l3s"}
	ipvlanFlags  = []string{"bridge", "private", "vepa"}
)

// HasParent reports whether the driver uses a parent interface.
func (n Network) HasParent() bool { return n.Driver == DriverMacvlan || n.Driver == DriverIPvlan }

// IsL3 reports whether the kernel routes to the containers, so that they need no gateway.
func (n Network) IsL3() bool { return n.Driver == DriverIPvlan && n.Parent().Mode != ModeL2 }

// OnLAN reports whether the containers are on the parent interface's LAN.
func (n Network) OnLAN() bool { return n.HasParent() && !n.IsL3() && !n.ParentIsOwn() }

// parentSetters returns the option setters of macvlan or ipvlan.
func parentSetters(driver string) map[string]func(*Network, string) error {
	all := setters()
	out := map[string]func(*Network, string) error{OptMTU: all[OptMTU], OptPrefix: all[OptPrefix]}
	maps.Copy(out, announceSetters())
	out[OptParent] = func(n *Network, v string) error {
		n.Spec.parent().Link = v
		_, err := ParseParent(driver, v)
		return err
	}

	out[OptShim] = negated(OptShim, func(n *Network) *bool { return &n.Spec.parent().NoShim })
	out[OptProbe] = negated(OptProbe, func(n *Network) *bool { return &n.Spec.parent().NoProbe })
	if driver == DriverMacvlan {
		out[OptMacvlanMode] = choice(OptMacvlanMode,
			"requested macvlan mode '%s' is not valid, 'bridge' mode is the macvlan driver default",
			macvlanModes, func(n *Network) *string { return &n.Spec.parent().Mode })
		return out
	}

	out[OptIPvlanMode] = choice(OptIPvlanMode,
		"requested ipvlan mode '%s' is not valid, 'l2' mode is the ipvlan driver default",
		ipvlanModes, func(n *Network) *string { return &n.Spec.parent().Mode })
	out[OptIPvlanFlag] = choice(OptIPvlanFlag,
		"requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default",
		ipvlanFlags, func(n *Network) *string { return &n.Spec.IPvlan.Flag })
	return out
}

// negated returns a setter that stores the negated flag.
func negated(key string, where func(*Network) *bool) func(*Network, string) error {
	return func(n *Network, v string) error {
		on, err := strconv.ParseBool(v)
		if *where(n) = !on; err != nil {
			return badOption(key, v, "is neither true nor false")
		}
		return nil
	}
}

// choice returns a setter for one of the known values. An empty value means the first one. refusal is the
// format of the error text.
func choice(key, refusal string, known []string, where func(*Network) *string) func(*Network, string) error {
	return func(n *Network, v string) error {
		if v == "" {
			v = known[0]
		}
		if *where(n) = v; !slices.Contains(known, v) {
			return fault.New(fault.Invalid, "option "+key+"="+v, fmt.Sprintf(refusal, v), fault.WithField("options"),
				fault.WithHint("use %s", strings.Join(known, ", ")))
		}
		return nil
	}
}

// setParentDefaults sets the defaults of macvlan and ipvlan options. Without a parent interface the
// network gets a dummy link and is internal.
func (n *Network) setParentDefaults() {
	parent := n.Spec.parent()
	if parent.Mode == "" {
		parent.Mode = macvlanModes[0]
		if n.Driver == DriverIPvlan {
			parent.Mode = ipvlanModes[0]
		}
	}

	if n.Driver == DriverIPvlan && n.Spec.IPvlan.Flag == "" {
		n.Spec.IPvlan.Flag = ipvlanFlags[0]
	}

	if parent.Link == "" && n.ID != "" {
		parent.Link, n.Spec.Internal = ownParentPrefix+id.Short(n.ID), true
	}
}

// ownParentPrefix begins the names of dummy links that are created as parents, as in Docker.
const ownParentPrefix = "dm-"

// ParentIsOwn reports whether the parent is a dummy link created for the network.
func (n Network) ParentIsOwn() bool { return n.Parent().Link == ownParentPrefix+id.Short(n.ID) }

// Parent is a parent interface in the form LINK or LINK.VLAN.
type Parent struct {
	Link string // the link, or the base link of the VLAN device
	VLAN int    // VLAN id; 0: none
}

// maxVLAN is the highest VLAN id (IEEE 802.1Q).
const maxVLAN = 4094

// ParseParent parses the name of a parent interface. An existing link with a dot in its name is not
// necessarily a VLAN device; the caller must check the host.
func ParseParent(driver, name string) (Parent, error) {
	refuse := func(text string) (Parent, error) {
		return Parent{}, fault.New(fault.Invalid, "option "+OptParent+"="+name, text, fault.WithField("options"))
	}

	switch {
	case name == "lo":
		return refuse("loopback interface is not a valid " + driver + " parent link")
	case !ValidLinkName(name):
		return refuse("is not a valid interface name: 1 to 15 characters, no spaces, slashes or colons")
	}

	link, number, dotted := strings.Cut(name, ".")
	if !dotted {
		return Parent{Link: name}, nil
	}

	vlan, err := strconv.Atoi(number)
	switch {
	case err != nil || link == "":
		return refuse("invalid subinterface vlan name " + name + ", example formatting is eth0.10")
	case vlan < 1 || vlan > maxVLAN:
		return refuse("vlan id must be between 1-4094, received: " + number)
	}

	return Parent{Link: link, VLAN: vlan}, nil
}

// OnLink returns the gateway that denotes an on-link default route.
func OnLink(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// CheckSharedParent returns an error if the two networks cannot share a parent interface.
func CheckSharedParent(n, other Network) error {
	refuse := func(text string) error { return fault.New(fault.Exists, n.Subject(), text, fault.WithField("options")) }
	using := n.Driver + " network " + other.String() + " is already using parent interface " + n.Parent().Link
	switch {
	case n.Driver != other.Driver:
		return refuse(fmt.Sprintf("%s network %s is already using parent interface %s: "+
			"the kernel lets a link have children of one kind only", other.Driver, other.String(), n.Parent().Link))
	case n.Driver == DriverMacvlan && (n.Parent().Mode == ModePassthru || other.Parent().Mode == ModePassthru):
		return refuse("cannot use mode passthru, " + using)
	case n.Driver == DriverIPvlan && (n.Parent().Mode != other.Parent().Mode || n.IPvlanFlag() != other.IPvlanFlag()):
		return refuse(fmt.Sprintf("%s in mode %s %s, and the kernel has one mode per parent interface", using,
			other.Parent().Mode, other.IPvlanFlag()))
	}

	return nil
}
