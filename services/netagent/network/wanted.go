package network

import (
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
)

// Wanted is what somebody says of a network that is to be made.
type Wanted struct {
	ID       string // empty: one is made up
	Name     string
	Driver   string // empty: bridge
	Pools    []WantedPool
	Internal bool
	IPv4     *bool // nil: yes
	IPv6     *bool // nil: if a subnet of it is given
	Labels   map[string]string
	Options  map[string]string
}

// WantedPool is what somebody says of a subnet. What is not valid was not given.
type WantedPool struct {
	Subnet  netip.Prefix // with an unspecified address: any of that length; of the length 0: as long as the pools say
	Range   netip.Prefix
	Gateway netip.Addr
	Aux     map[string]netip.Addr
}

// Any tells whether the subnet is to be chosen out of the default pools.
func (p WantedPool) Any() bool { return !p.Subnet.IsValid() || p.Subnet.Addr().IsUnspecified() }

// The names of aux addresses that are what containers are told in place of the host's address.
const (
	AuxGatewayIPv4 = "DefaultGatewayIPv4"
	AuxGatewayIPv6 = "DefaultGatewayIPv6"
)

// maxName is how long a network's name can be.
const maxName = 128

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Draft checks all that can be known of a wanted network by itself, and makes the network that it is to be, still without the
// subnets that were not given.
func (w Wanted) Draft() (Network, error) {
	n := Network{ID: w.ID, Name: w.Name, Driver: w.Driver, Internal: w.Internal, Labels: w.Labels, Options: w.Options,
		MTU: DefaultMTU, Masquerade: true, InterContainer: true}
	if n.Driver == "" {
		n.Driver = DriverBridge
	}
	if err := w.identity(n); err != nil {
		return n, err
	}
	options := maps.Clone(w.Options)
	ipv4, ipv6, err := w.families()
	delete(options, OptIPv4)
	delete(options, OptIPv6)
	errs := append([]error{err}, n.applyOptions(options)...)
	if n.MTU == 0 {
		n.MTU = DefaultMTU
	}
	if least := leastMTU(ipv6); n.MTU < least && n.MTU > 0 {
		errs = append(errs, fault.Invalidf(n.Subject(), "options", "invalid MTU number: %d; it must be at least %d", n.MTU, least))
	}
	if n.Bridge == "" && n.ID != "" {
		n.Bridge = DefaultBridge(n.ID)
	}
	return n, errors.Join(append(errs, w.checkPools(n, ipv4, ipv6)...)...)
}

func leastMTU(ipv6 bool) int {
	if ipv6 {
		return minMTUIPv6
	}
	return minMTU
}

// identity checks name, id and driver.
func (w Wanted) identity(n Network) error {
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
	switch n.Driver {
	case DriverBridge:
		return nil
	case DriverHost, DriverNull:
		return fault.New(fault.Denied, n.Subject(), `only one instance of "`+n.Driver+`" network is allowed`, fault.WithField("driver"))
	}
	return fault.New(fault.NotFound, n.Subject(), `plugin "`+n.Driver+`" not found`, fault.WithField("driver"),
		fault.WithHint("networks are made by the driver bridge"))
}

// families tells which address families are wanted.
func (w Wanted) families() (ipv4, ipv6 bool, err error) {
	on4, given4, err4 := Family(w.Options, OptIPv4)
	on6, given6, err6 := Family(w.Options, OptIPv6)
	ipv4 = !given4 || on4
	ipv6 = given6 && on6 || !given6 && slices.ContainsFunc(w.Pools, func(p WantedPool) bool { return p.Subnet.IsValid() && p.Subnet.Addr().Is6() })
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
func (w Wanted) checkPools(n Network, ipv4, ipv6 bool) []error {
	var errs []error
	seen := map[bool]bool{}
	for _, p := range w.Pools {
		if err := p.check(n); err != nil {
			errs = append(errs, err)
			continue
		}
		is6 := p.is6()
		switch {
		case seen[is6]:
			errs = append(errs, fault.Invalidf(n.Subject(), "subnet", "bridge driver doesn't support multiple subnets of one family"))
		case is6 && !ipv6 || !is6 && !ipv4:
			errs = append(errs, fault.New(fault.Invalid, n.Subject(), "subnet "+p.Subnet.String()+" is of a family that is switched off",
				fault.WithField("subnet")))
		}
		seen[is6] = true
	}
	return errs
}

// is6 tells of which family it is; one without any address is IPv4.
func (p WantedPool) is6() bool {
	for _, a := range []netip.Addr{p.Subnet.Addr(), p.Range.Addr(), p.Gateway} {
		if a.IsValid() {
			return a.Is6()
		}
	}
	return false
}

// check tells what is wrong with a subnet by itself. What lies outside of one that is still to be chosen is told when it is.
func (p WantedPool) check(n Network) error {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf(n.Subject(), field, format, args...)
	}
	s := p.Subnet
	switch {
	case !s.IsValid():
		if p.Range.IsValid() || p.Gateway.IsValid() {
			return bad("subnet", "every ip-range or gateway must have a corresponding subnet")
		}
	case s.Addr().Is4In6() || s.Addr().Zone() != "":
		return bad("subnet", "invalid subnet %s: write it as IPv4 or IPv6 without a zone", s)
	case s != s.Masked():
		return bad("subnet", "invalid subnet %s: it should be %s", s, s.Masked())
	case s.Bits() == 0:
		return bad("subnet", "invalid subnet %s: it has all addresses there are", s)
	case !p.Any() && (s.Addr().IsMulticast() || s.Addr().IsLoopback()):
		return bad("subnet", "invalid subnet %s: loopback and multicast addresses cannot be containers'", s)
	}
	if p.Any() {
		return nil
	}
	return p.Within(n, s)
}

// Within checks what is to lie in the subnet.
func (p WantedPool) Within(n Network, s netip.Prefix) error {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf(n.Subject(), field, format, args...)
	}
	r := p.Range
	switch {
	case r.IsValid() && r != r.Masked():
		return bad("ip-range", "invalid ip-range %s: it should be %s", r, r.Masked())
	case r.IsValid() && (r.Addr().Is4() != s.Addr().Is4() || !r.Overlaps(s)):
		return bad("ip-range", "no matching subnet for range %s: it lies outside %s", r, s)
	case r.IsValid() && r.Bits() < s.Bits():
		return bad("ip-range", "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, s)
	case p.Gateway.IsValid() && !s.Contains(p.Gateway):
		return bad("gateway", "no matching subnet for gateway %s: it lies outside %s", p.Gateway, s)
	case p.Gateway.IsValid() && isNetworkOrBroadcast(netip.PrefixFrom(p.Gateway, s.Bits())):
		return bad("gateway", "gateway %s is the first or the last address of %s, which no host can have", p.Gateway, s)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Aux)) {
		if a := p.Aux[name]; !s.Contains(a) {
			return bad("aux-address", "no matching subnet for aux-address %s: it lies outside %s", a, s)
		} else if a == p.Gateway {
			return bad("aux-address", "failed to allocate secondary ip address (%s:%s): Address already in use", name, a)
		}
	}
	return nil
}

// On makes the pool of a wanted one on its subnet, which must be chosen and hold all that is wanted.
func (p WantedPool) On(subnet netip.Prefix) Pool {
	out := Pool{Subnet: subnet, Range: p.Range, Gateway: p.Gateway, Aux: p.Aux}
	for _, name := range []string{AuxGatewayIPv4, AuxGatewayIPv6} {
		if gw, ok := p.Aux[name]; ok {
			out.ContainerGateway = gw
		}
	}
	if !out.Gateway.IsValid() {
		out.Gateway = out.firstFree()
	}
	return out
}

// firstFree is the first address that the host can have: the range's, as Docker takes it, or the subnet's.
func (p Pool) firstFree() netip.Addr {
	from := p.Subnet
	if p.Range.IsValid() {
		from = p.Range
	}
	taken := slices.Collect(maps.Values(p.Aux))
	for a := from.Addr(); p.Subnet.Contains(a); a = a.Next() {
		if !slices.Contains(taken, a) && !isNetworkOrBroadcast(netip.PrefixFrom(a, p.Subnet.Bits())) {
			return a
		}
	}
	return netip.Addr{}
}

// Missing are the families that are wanted and have no subnet yet, IPv4 first, each as a pool to be chosen.
func (w Wanted) Missing() []WantedPool {
	ipv4, ipv6, err := w.families()
	if err != nil {
		return nil
	}
	var out []WantedPool
	for _, p := range w.Pools {
		ipv4, ipv6 = ipv4 && p.is6(), ipv6 && !p.is6()
	}
	if ipv4 {
		out = append(out, WantedPool{Subnet: netip.PrefixFrom(netip.IPv4Unspecified(), 0)})
	}
	if ipv6 {
		out = append(out, WantedPool{Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	}
	return out
}
