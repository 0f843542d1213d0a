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

// The drivers whose containers have a link of their own on a link of the host, their parent.
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

// The modes that mean something to others than the kernel.
const (
	ModePassthru = "passthru"
	ModeL2       = "l2"
)

// The modes of macvlan, the modes and the flags of ipvlan, the default first.
var (
	macvlanModes = []string{"bridge", "private", "vepa", ModePassthru}
	ipvlanModes  = []string{ModeL2, "l3", "l3s"}
	ipvlanFlags  = []string{"bridge", "private", "vepa"}
)

// HasParent tells whether the driver is one of those.
func (n Network) HasParent() bool { return n.Driver == DriverMacvlan || n.Driver == DriverIPvlan }

// IsL3 tells whether the kernel routes to the network's containers, so that they need no gateway to leave by.
func (n Network) IsL3() bool { return n.Driver == DriverIPvlan && n.Mode != ModeL2 }

// OnLAN tells whether the network's containers are neighbours of whoever else is on the LAN of the parent.
func (n Network) OnLAN() bool { return n.HasParent() && !n.IsL3() && !n.ParentIsOwn() }

// parentedSetters are those of setters that macvlan or ipvlan has, and its own.
func parentedSetters(driver string) map[string]func(*Network, string) error {
	all := setters()
	out := map[string]func(*Network, string) error{OptMTU: all[OptMTU], OptPrefix: all[OptPrefix]}
	maps.Copy(out, announceSetters())
	out[OptParent] = func(n *Network, v string) error {
		n.Parent = v
		_, err := ParseParent(driver, v)
		return err
	}
	out[OptShim] = unless(OptShim, func(n *Network) *bool { return &n.NoShim })
	out[OptProbe] = unless(OptProbe, func(n *Network) *bool { return &n.NoProbe })
	if driver == DriverMacvlan {
		out[OptMacvlanMode] = choice(OptMacvlanMode, "requested macvlan mode '%s' is not valid, 'bridge' mode is the macvlan driver default",
			macvlanModes, func(n *Network) *string { return &n.Mode })
		return out
	}
	out[OptIPvlanMode] = choice(OptIPvlanMode, "requested ipvlan mode '%s' is not valid, 'l2' mode is the ipvlan driver default",
		ipvlanModes, func(n *Network) *string { return &n.Mode })
	out[OptIPvlanFlag] = choice(OptIPvlanFlag, "requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default",
		ipvlanFlags, func(n *Network) *string { return &n.Flag })
	return out
}

// unless reads a flag that switches something off by false.
func unless(key string, where func(*Network) *bool) func(*Network, string) error {
	return func(n *Network, v string) error {
		on, err := strconv.ParseBool(v)
		if *where(n) = !on; err != nil {
			return badOption(key, v, "is neither true nor false")
		}
		return nil
	}
}

func choice(key, refusal string, known []string, where func(*Network) *string) func(*Network, string) error {
	return func(n *Network, v string) error {
		if v == "" {
			v = known[0]
		}
		if *where(n) = v; !slices.Contains(known, v) {
			return fault.New(fault.Invalid, "option "+key+"="+v, fmt.Sprintf(refusal, v), fault.WithField("options"),
				fault.WithHint("there are %s", strings.Join(known, ", ")))
		}
		return nil
	}
}

// setParentDefaults fills in what the options of a macvlan or ipvlan network left open. One without a parent gets a link of its own, which leads
// nowhere.
func (n *Network) setParentDefaults() {
	n.Masquerade, n.InterContainer = false, true
	if n.Mode == "" {
		n.Mode = macvlanModes[0]
		if n.Driver == DriverIPvlan {
			n.Mode = ipvlanModes[0]
		}
	}
	if n.Driver == DriverIPvlan && n.Flag == "" {
		n.Flag = ipvlanFlags[0]
	}
	if n.Parent == "" && n.ID != "" {
		n.Parent, n.Internal = ownParentPrefix+id.Short(n.ID), true
	}
}

const ownParentPrefix = "dm-"

// ParentIsOwn tells whether the parent is a link of the network's own.
func (n Network) ParentIsOwn() bool { return n.Parent == ownParentPrefix+id.Short(n.ID) }

// Parent is a parent that is written LINK or LINK.VLAN.
type Parent struct {
	Link string // the link itself; of a VLAN, the one that it is on
	VLAN int    // 0: none is named
}

// maxVLAN is the highest VLAN id there is (IEEE 802.1Q).
const maxVLAN = 4094

// ParseParent reads a parent. A link that is there may have a dot in its name and mean no VLAN; whether it is, the host knows.
func ParseParent(driver, name string) (Parent, error) {
	refuse := func(text string) (Parent, error) {
		return Parent{}, fault.New(fault.Invalid, "option "+OptParent+"="+name, text, fault.WithField("options"))
	}
	switch {
	case name == "lo":
		return refuse("loopback interface is not a valid " + driver + " parent link")
	case !validLinkName(name):
		return refuse("is no name for a device: 1 to 15 characters, no spaces, slashes or colons")
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

// OnLink is a default route that has no gateway: whatever is asked for is on the link.
func OnLink(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// CheckSharedParent tells why two networks cannot be on one parent; nil if they can.
func CheckSharedParent(n, other Network) error {
	refuse := func(text string) error { return fault.New(fault.Exists, n.Subject(), text, fault.WithField("options")) }
	using := n.Driver + " network " + other.String() + " is already using parent interface " + n.Parent
	switch {
	case n.Driver != other.Driver:
		return refuse(fmt.Sprintf("%s network %s is already using parent interface %s: the kernel lets a link have children of one kind only",
			other.Driver, other.String(), n.Parent))
	case n.Driver == DriverMacvlan && (n.Mode == ModePassthru || other.Mode == ModePassthru):
		return refuse("cannot use mode passthru, " + using)
	case n.Driver == DriverIPvlan && (n.Mode != other.Mode || n.Flag != other.Flag):
		return refuse(fmt.Sprintf("%s in mode %s %s, and the kernel has one mode for all of a link's children", using, other.Mode, other.Flag))
	}
	return nil
}
