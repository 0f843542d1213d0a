package network

import (
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Draft is a request for a network.
type Draft struct {
	ID       string // empty: generated
	Name     string
	Driver   string // empty: bridge
	Pools    []PoolSpec
	Internal bool
	IPv4     *bool // nil: enabled
	IPv6     *bool // nil: enabled if an IPv6 subnet is given
	Labels   map[string]string
	Options  map[string]string
	IPAM     string // IPAMDefault or IPAMDHCP; empty: IPAMDefault

	Attachable  bool              `json:",omitempty"` // as in Docker, without an effect
	IPAMOptions map[string]string `json:",omitempty"` // of the address source; none has any, so they are only stored

	DNS    []netip.Addr // upstreams of the containers; none: the configured ones
	Egress []string     // rules for outgoing traffic of the containers; none: the configured ones

	Limits egress.Defaults `json:",omitzero"` // of each container; what is not given: the configured ones

	ConfigOnly bool   // holds configuration for other networks
	ConfigFrom string // name of the configuration network to use
}

// WithConfigFrom returns the request with the configuration of a configuration network.
func (w Draft) WithConfigFrom(config Draft) (Draft, error) {
	if len(w.Pools)+len(w.Options)+len(w.Labels)+len(w.DNS)+len(w.Egress)+len(w.IPAMOptions) > 0 ||
		w.IPAM != "" || w.Internal || w.IPv4 != nil ||
		w.IPv6 != nil || w.ConfigOnly || w.Limits != (egress.Defaults{}) {
		return w, fault.New(fault.Invalid, "network "+w.Name,
			"user-specified configurations are not supported if the network depends on a configuration network",
			fault.WithField("config_from"))
	}
	config.ID, config.Name, config.Driver = w.ID, w.Name, w.Driver
	config.ConfigOnly, config.ConfigFrom, config.Attachable = false, w.ConfigFrom, w.Attachable
	return config, nil
}

// WithOptions returns the request with the driver's default options where it sets none.
func (w Draft) WithOptions(byDriver map[string]map[string]string) Draft {
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

// maxName is the maximum length of a network name.
const maxName = 128

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Build validates the request and returns the network. Subnets that were not given are not
// allocated yet.
func (w Draft) Build() (Network, error) {
	n := Network{ID: w.ID, Name: w.Name, Driver: w.Driver, Scope: Local, Spec: Spec{Internal: w.Internal,
		Labels: w.Labels, Options: w.Options, MTU: DefaultMTU, Attachable: w.Attachable, IPAMOptions: w.IPAMOptions}}
	if n.Driver == "" {
		n.Driver = DriverBridge
	}

	if err := w.identity(n); err != nil {
		return n, err
	}

	if n.Spec.ConfigFrom = w.ConfigFrom; w.ConfigOnly {
		n.Driver, n.Origin, n.Spec.MTU = DriverNull, OriginConfigOnly, 0
		as := w
		as.ConfigOnly = false
		_, err := as.Build() // the configuration must be valid for a network
		return n, err
	}

	n.Spec = n.Spec.withDriver(n.Driver)
	options := maps.Clone(w.Options)
	ipv4, ipv6, err := w.families()
	delete(options, OptIPv4)
	delete(options, OptIPv6)
	errs := append([]error{err}, n.applyOptions(options)...)

	switch {
	case n.HasParent():
		n.setParentDefaults()
		if n.Spec.MTU == DefaultMTU && w.Options[OptMTU] == "" {
			n.Spec.MTU = 0 // use the parent's MTU
		}
	case n.Driver == DriverOverlay:
		n.Scope = Global
		if w.Options[OptMTU] == "" {
			n.Spec.MTU = 0 // the fleet chooses it
		}
	case n.Spec.MTU == 0:
		n.Spec.MTU = DefaultMTU
	}

	if lowest := lowestMTU(ipv6); n.Spec.MTU < lowest && n.Spec.MTU > 0 {
		errs = append(errs, fault.Invalidf(n.Subject(), "options", "invalid MTU number: %d; it must be at least %d",
			n.Spec.MTU, lowest))
	}

	if n.Spec.Bridge != nil && n.Bridge().Device == "" && n.ID != "" {
		n.Spec.Bridge.Device = DefaultBridge(n.ID)
	}

	errs = append(errs, n.checkModes(), w.applyIPAM(&n, ipv4, ipv6))
	n.Spec.DNS, err = nameServers(n, w.DNS)
	errs = append(errs, err)
	n.Spec.Egress, err = egressRules(n, w.Egress)
	errs = append(errs, err, checkLimits(n, w.Limits))
	n.Spec.Limits = w.Limits
	return n, errors.Join(append(errs, w.checkPools(n, ipv4, ipv6)...)...)
}

func lowestMTU(ipv6 bool) int {
	if ipv6 {
		return minMTUIPv6
	}
	return minMTU
}

// identity validates name, id and driver.
func (w Draft) identity(n Network) error {
	switch n.Name {
	case "":
		return fault.Invalidf("network", "name", "no name was given")
	case "bridge", "host", "none", "default":
		return fault.New(fault.Denied, n.Subject(), "operation is not permitted on predefined "+n.Name+" network",
			fault.WithField("name"))
	}

	if !validName.MatchString(n.Name) || len(n.Name) > maxName {
		return fault.New(fault.Invalid, "network "+Quote(n.Name),
			"invalid network name, only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed",
			fault.WithField("name"), fault.WithHint("use at most %d characters, without slashes, spaces and colons",
				maxName))
	}

	if w.ID != "" && !id.Valid(w.ID) {
		return fault.Invalidf(n.Subject(), "id", "must be %d lower-case hexadecimal digits", id.Len)
	}

	return n.checkDriver()
}

// checkDriver rejects drivers that cannot create networks.
func (n Network) checkDriver() error {
	switch n.Driver {
	case DriverBridge, DriverMacvlan, DriverIPvlan, DriverOverlay:
		return nil
	case DriverHost, DriverNull:
		return fault.New(fault.Denied, n.Subject(), `only one instance of "`+n.Driver+`" network is allowed`,
			fault.WithField("driver"))
	}

	hint := "use bridge, overlay, macvlan or ipvlan"
	if near, ok := config.Suggest(n.Driver, []string{DriverBridge, DriverMacvlan, DriverIPvlan, DriverOverlay,
		DriverHost, DriverNull}); ok {
		hint = "did you mean " + near + "? " + hint
	}

	return fault.New(fault.NotFound, n.Subject(), `plugin "`+n.Driver+`" not found`,
		fault.WithField("driver"), fault.WithHint("%s", hint))
}

// families returns the requested address families.
func (w Draft) families() (ipv4, ipv6 bool, err error) {
	on4, given4, err4 := Family(w.Options, OptIPv4)
	on6, given6, err6 := Family(w.Options, OptIPv6)
	ipv4 = !given4 || on4
	ipv6 = given6 && on6 || !given6 && slices.ContainsFunc(w.Pools, func(p PoolSpec) bool {
		return p.Subnet.IsValid() && p.Subnet.Addr().Is6()
	})

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

// checkPools validates each subnet and its address family.
func (w Draft) checkPools(n Network, ipv4, ipv6 bool) []error {
	var errs []error
	seen := map[bool]bool{}
	for i, p := range w.Pools {
		if err := p.check(n); err != nil {
			errs = append(errs, err)
			continue
		}
		overlaps := func(q PoolSpec) bool { return !p.IsAuto() && !q.IsAuto() && q.Subnet.Overlaps(p.Subnet) }
		if n.HasParent() && slices.ContainsFunc(w.Pools[:i], overlaps) {
			errs = append(errs, fault.Invalidf(n.Subject(), "subnet",
				"multiple overlapping subnet configuration is not supported"))
		}
		is6 := p.is6()
		switch {
		case seen[is6] && !n.HasParent():
			errs = append(errs, fault.Invalidf(n.Subject(), "subnet",
				"bridge driver doesn't support multiple subnets of one family"))
		case is6 && !ipv6 || !is6 && !ipv4:
			errs = append(errs, fault.New(fault.Invalid, n.Subject(), "subnet "+p.Subnet.String()+
				" belongs to a disabled address family",
				fault.WithField("subnet")))
		}
		seen[is6] = true
	}

	return errs
}

// UnassignedPools returns a pool without a subnet for each requested family that has none, IPv4
// first.
func (w Draft) UnassignedPools() []PoolSpec {
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
