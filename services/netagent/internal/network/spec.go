package network

import (
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Spec is what somebody says of a network that is to be made.
type Spec struct {
	ID       string // empty: one is made up
	Name     string
	Driver   string // empty: bridge
	Pools    []PoolSpec
	Internal bool
	IPv4     *bool // nil: yes
	IPv6     *bool // nil: if a subnet of it is given
	Labels   map[string]string
	Options  map[string]string
	IPAM     string // who gives addresses: default, which is also the empty one, or dhcp

	DNS []netip.Addr // the name servers for its containers; none: those that are configured

	ConfigOnly bool   // nothing but a configuration for others
	ConfigFrom string // the name of the network whose configuration to take
}

// WithConfigFrom is the wanted network with the configuration of another one, which was wanted so.
func (w Spec) WithConfigFrom(config Spec) (Spec, error) {
	if len(w.Pools)+len(w.Options)+len(w.Labels)+len(w.DNS) > 0 || w.IPAM != "" || w.Internal || w.IPv4 != nil || w.IPv6 != nil || w.ConfigOnly {
		return w, fault.New(fault.Invalid, "network "+w.Name, "user-specified configurations are not supported if the network depends on a configuration network",
			fault.WithField("config_from"))
	}
	config.ID, config.Name, config.Driver, config.ConfigOnly, config.ConfigFrom = w.ID, w.Name, w.Driver, false, w.ConfigFrom
	return config, nil
}

// WithOptions is the wanted network with the options of its driver that are not given for it.
func (w Spec) WithOptions(byDriver map[string]map[string]string) Spec {
	driver := w.Driver
	if driver == "" {
		driver = DriverBridge
	}
	options := maps.Clone(byDriver[driver])
	if options == nil {
		return w
	}
	maps.Copy(options, w.Options)
	w.Options = options
	return w
}

// maxName is how long a network's name can be.
const maxName = 128

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Build checks all that can be known of a wanted network by itself, and makes the network that it is to be, still without the
// subnets that were not given.
func (w Spec) Build() (Network, error) {
	n := Network{ID: w.ID, Name: w.Name, Driver: w.Driver, Internal: w.Internal, Labels: w.Labels, Options: w.Options,
		MTU: DefaultMTU, Masquerade: true, InterContainer: true}
	if n.Driver == "" {
		n.Driver = DriverBridge
	}
	if err := w.identity(n); err != nil {
		return n, err
	}
	if n.ConfigFrom = w.ConfigFrom; w.ConfigOnly {
		n.Driver, n.ConfigOnly, n.MTU = DriverNull, true, 0
		as := w
		as.ConfigOnly = false
		_, err := as.Build() // what cannot be a network is no configuration of one
		return n, err
	}
	options := maps.Clone(w.Options)
	ipv4, ipv6, err := w.families()
	delete(options, OptIPv4)
	delete(options, OptIPv6)
	errs := append([]error{err}, n.applyOptions(options)...)
	switch {
	case n.HasParent():
		n.setParentDefaults()
		if n.MTU == DefaultMTU && w.Options[OptMTU] == "" {
			n.MTU = 0 // the parent's
		}
	case n.MTU == 0:
		n.MTU = DefaultMTU
	}
	if least := leastMTU(ipv6); n.MTU < least && n.MTU > 0 {
		errs = append(errs, fault.Invalidf(n.Subject(), "options", "invalid MTU number: %d; it must be at least %d", n.MTU, least))
	}
	if n.Bridge == "" && n.ID != "" && n.Driver == DriverBridge {
		n.Bridge = DefaultBridge(n.ID)
	}
	errs = append(errs, n.checkModes(), w.leased(&n, ipv4, ipv6))
	n.DNS, err = nameServers(n, w.DNS)
	errs = append(errs, err)
	return n, errors.Join(append(errs, w.checkPools(n, ipv4, ipv6)...)...)
}

func leastMTU(ipv6 bool) int {
	if ipv6 {
		return minMTUIPv6
	}
	return minMTU
}

// identity checks name, id and driver.
func (w Spec) identity(n Network) error {
	switch n.Name {
	case "":
		return fault.Invalidf("network", "name", "no name was given")
	case "bridge", "host", "none", "default":
		return fault.New(fault.Denied, n.Subject(), "operation is not permitted on predefined "+n.Name+" network", fault.WithField("name"))
	}
	if !validName.MatchString(n.Name) || len(n.Name) > maxName {
		return fault.New(fault.Invalid, "network "+quoteShort(n.Name), "invalid network name, only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed",
			fault.WithField("name"), fault.WithHint("names have at most %d characters; slashes, blanks and colons mean other things elsewhere", maxName))
	}
	if w.ID != "" && !id.Valid(w.ID) {
		return fault.Invalidf(n.Subject(), "id", "must be %d lower-case hexadecimal digits", id.Len)
	}
	return n.checkDriver()
}

// checkDriver refuses drivers that make no networks here.
func (n Network) checkDriver() error {
	switch n.Driver {
	case DriverBridge, DriverMacvlan, DriverIPvlan:
		return nil
	case DriverHost, DriverNull:
		return fault.New(fault.Denied, n.Subject(), `only one instance of "`+n.Driver+`" network is allowed`, fault.WithField("driver"))
	case DriverOverlay:
		return fault.New(fault.Unavailable, n.Subject(), "overlay networks span the hosts of a fleet, and this host is in none", fault.WithField("driver"),
			fault.WithHint("use bridge for containers of this host, macvlan or ipvlan for containers on its LAN"))
	}
	hint := "networks are made by the drivers bridge, macvlan and ipvlan"
	if near, ok := config.Suggest(n.Driver, []string{DriverBridge, DriverMacvlan, DriverIPvlan, DriverOverlay, DriverHost, DriverNull}); ok {
		hint = "did you mean " + near + "? " + hint
	}
	return fault.New(fault.NotFound, n.Subject(), `plugin "`+n.Driver+`" not found`, fault.WithField("driver"), fault.WithHint("%s", hint))
}

// families tells which address families are wanted.
func (w Spec) families() (ipv4, ipv6 bool, err error) {
	on4, given4, err4 := Family(w.Options, OptIPv4)
	on6, given6, err6 := Family(w.Options, OptIPv6)
	ipv4 = !given4 || on4
	ipv6 = given6 && on6 || !given6 && slices.ContainsFunc(w.Pools, func(p PoolSpec) bool { return p.Subnet.IsValid() && p.Subnet.Addr().Is6() })
	if w.IPv4 != nil {
		ipv4 = *w.IPv4
	}
	if w.IPv6 != nil {
		ipv6 = *w.IPv6
	}
	err = errors.Join(err4, err6)
	if err == nil && !ipv4 && !ipv6 {
		err = fault.New(fault.Invalid, "network "+w.Name, "IPv4 or IPv6 must be enabled", fault.WithField("ipv4"))
	}
	return ipv4, ipv6, err
}

// checkPools checks each subnet by itself and against the families.
func (w Spec) checkPools(n Network, ipv4, ipv6 bool) []error {
	var errs []error
	seen := map[bool]bool{}
	for _, p := range w.Pools {
		if err := p.check(n); err != nil {
			errs = append(errs, err)
			continue
		}
		is6 := p.is6()
		switch {
		case seen[is6] && !n.HasParent():
			errs = append(errs, fault.Invalidf(n.Subject(), "subnet", "bridge driver doesn't support multiple subnets of one family"))
		case is6 && !ipv6 || !is6 && !ipv4:
			errs = append(errs, fault.New(fault.Invalid, n.Subject(), "subnet "+p.Subnet.String()+" is of a family that is switched off",
				fault.WithField("subnet")))
		}
		seen[is6] = true
	}
	return errs
}

// UnassignedPools are the families that are wanted and have no subnet yet, IPv4 first, each as a pool to be chosen.
func (w Spec) UnassignedPools() []PoolSpec {
	ipv4, ipv6, err := w.families()
	if err != nil || w.IPAM == IPAMDHCP {
		return nil
	}
	var out []PoolSpec
	for _, p := range w.Pools {
		ipv4, ipv6 = ipv4 && p.is6(), ipv6 && !p.is6()
	}
	if ipv4 {
		out = append(out, PoolSpec{Subnet: netip.PrefixFrom(netip.IPv4Unspecified(), 0)})
	}
	if ipv6 {
		out = append(out, PoolSpec{Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	}
	return out
}
