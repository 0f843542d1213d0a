// Package networkspec parses --network of run and create, and the subnets of network create. It
// performs no I/O and validates what does not need the agent.
package networkspec

import (
	"encoding/csv"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Attachment is a network with the options of a container's endpoint. Empty fields were not given.
type Attachment struct {
	Network   string
	Aliases   []string
	IPv4      string
	IPv6      string
	MAC       string
	Priority  int32
	Interface string
	LinkLocal []string
	Sysctls   []string
	Allowed   []string // additional source subnets of the container
}

// IsBare reports whether only the network is given.
func (a Attachment) IsBare() bool {
	return len(a.Aliases) == 0 && a.IPv4 == "" && a.IPv6 == "" && a.MAC == "" && a.Priority == 0 && a.Interface == "" &&
		len(a.LinkLocal)+len(a.Sysctls)+len(a.Allowed) == 0
}

// Endpoint options: the interface name, sysctls of the interface, and additional source addresses.
const (
	optInterface = "com.docker.network.endpoint.ifname"
	optSysctls   = "com.docker.network.endpoint.sysctls"
	optAllowed   = "allowed-addresses"
)

// Parse parses NETWORK, or name=NETWORK with options, separated by commas.
func Parse(spec string) (Attachment, error) {
	if !strings.Contains(spec, "=") {
		if spec == "" {
			return Attachment{}, invalid(spec, "network name is empty")
		}
		return Attachment{Network: spec}, nil
	}

	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return Attachment{}, fault.New(fault.Invalid, "--network "+spec, "cannot be read",
			fault.WithField("network"), fault.WithCause(err))
	}

	var a Attachment
	for _, f := range fields {
		key, value, ok := strings.Cut(f, "=")
		if !ok || value == "" {
			return a, invalid(spec, "invalid field '%s': write KEY=VALUE", f)
		}
		if err := a.set(spec, strings.ToLower(strings.TrimSpace(key)), value); err != nil {
			return a, err
		}
	}

	if a.Network == "" {
		return a, invalid(spec, "network name/id is not specified: write name=NETWORK")
	}

	return a, nil
}

func (a *Attachment) set(spec, key, value string) (err error) {
	switch key {
	case "name":
		a.Network = value
	case "alias":
		a.Aliases = append(a.Aliases, value)
	case "ip":
		a.IPv4, err = Address("--network "+spec, "ip", value, netip.Addr.Is4)
	case "ip6":
		a.IPv6, err = Address("--network "+spec, "ip6", value, netip.Addr.Is6)
	case "mac-address":
		a.MAC, err = MAC("--network "+spec, value)
	case "gw-priority":
		n, nerr := strconv.ParseInt(value, 10, 32)
		if a.Priority = int32(n); nerr != nil {
			return invalid(spec, "invalid gw-priority: %s", value)
		}
	case "driver-opt":
		err = a.DriverOption("--network "+spec, value)
	case "link-local-ip":
		err = a.AddLinkLocal("--network "+spec, value)
	default:
		if strings.HasPrefix(key, "net.") {
			return invalid(spec,
				"unexpected key '%s'; put options with commas in double quotes: 'name=N,\"driver-opt=K=A,B\"'", key)
		}
		return invalid(spec, "unexpected key '%s'; use name, alias, ip, ip6, link-local-ip, mac-address, "+
			"gw-priority or driver-opt", key)
	}

	return err
}

// DriverOption parses an endpoint option: KEY=VALUE.
func (a *Attachment) DriverOption(subject, option string) error {
	name, text, _ := strings.Cut(option, "=")
	switch {
	case name == optInterface && text != "":
		a.Interface = text
	case name == optSysctls && text != "":
		for s := range strings.SplitSeq(text, ",") {
			a.Sysctls = append(a.Sysctls, strings.TrimSpace(s))
		}
	case name == optAllowed && text != "":
		return a.allow(subject, text)
	default:
		return fault.Invalidf(subject, "driver-opt",
			"invalid driver-opt %s; use %s=NAME, %s=net.ipv4.conf.IFNAME.NAME=VALUE,… or %s=CIDR,…",
			option, optInterface, optSysctls, optAllowed)
	}

	return nil
}

// allow parses additional source subnets.
func (a *Attachment) allow(subject, text string) error {
	for one := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil {
			return fault.New(fault.Invalid, subject, "invalid subnet "+one+" in "+optAllowed,
				fault.WithField("driver-opt"),
				fault.WithHint("use ADDRESS/BITS, separated by commas"))
		}
		a.Allowed = append(a.Allowed, p.Masked().String())
	}
	return nil
}

// AddLinkLocal parses a link-local address.
func (a *Attachment) AddLinkLocal(subject, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || !addr.IsLinkLocalUnicast() {
		return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+text,
			fault.WithField("link-local-ip"),
			fault.WithHint("use an address of 169.254.0.0/16 or fe80::/10"))
	}
	a.LinkLocal = append(a.LinkLocal, addr.String())
	return nil
}

func invalid(spec, format string, args ...any) error {
	return fault.Invalidf("--network "+spec, "network", format, args...)
}

// Address parses an address of one family and returns its canonical form.
func Address(subject, field, text string, is func(netip.Addr) bool) (string, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || !is(addr) || addr.Zone() != "" {
		return "", fault.Invalidf(subject, field, "invalid IP address: %s", text)
	}
	return addr.String(), nil
}

// Link parses CONTAINER[:ALIAS] of --link.
func Link(spec string) (container, alias string, err error) {
	container, alias, given := strings.Cut(spec, ":")
	if container == "" || given && alias == "" || strings.Contains(alias, ":") {
		return "", "", fault.Invalidf("--link "+spec, "link", "bad format for links: %s", spec)
	}
	return container, alias, nil
}

// MAC parses a MAC address and returns its canonical form.
func MAC(subject, text string) (string, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return "", fault.Invalidf(subject, "mac-address", "%s is not a valid mac address", text)
	}
	return mac.String(), nil
}

// Pool is a subnet with its range, gateway and auxiliary addresses.
type Pool struct {
	Subnet, Range, Gateway string
	Aux                    map[string]string
}

// Pools assigns ranges, gateways and auxiliary addresses (NAME=IP) to the subnets that contain
// them. One without a subnet is an error.
func Pools(subnets, ranges, gateways, aux []string) ([]Pool, error) {
	if len(subnets) == 0 && len(ranges)+len(gateways) > 0 {
		return nil, fault.Invalidf("--subnet", "subnet", "every ip-range or gateway must have a corresponding subnet")
	}

	var nets []netip.Prefix
	var out []Pool
	for _, text := range subnets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.Invalidf("--subnet "+text, "subnet", "invalid CIDR block: %s", text)
		}
		if slices.ContainsFunc(nets, p.Overlaps) {
			return nil, fault.Invalidf("--subnet "+text, "subnet",
				"multiple overlapping subnet configuration is not supported")
		}
		nets, out = append(nets, p), append(out, Pool{Subnet: text})
	}

	for _, text := range ranges {
		p, err := netip.ParsePrefix(text)
		i := slices.IndexFunc(nets, func(n netip.Prefix) bool { return holds(n, p.Addr()) })
		if err != nil || i < 0 || out[i].Range != "" {
			return nil, fault.Invalidf("--ip-range "+text, "ip-range", "no matching subnet for range %s", text)
		}
		out[i].Range = text
	}

	return out, place(nets, out, gateways, aux)
}

// place adds gateways and auxiliary addresses to their pools.
func place(nets []netip.Prefix, pools []Pool, gateways, aux []string) error {
	at := func(text string) int {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return -1
		}
		return slices.IndexFunc(nets, func(n netip.Prefix) bool { return holds(n, addr) })
	}
	for _, text := range gateways {
		i := at(text)
		if i < 0 || pools[i].Gateway != "" {
			return fault.Invalidf("--gateway "+text, "gateway", "no matching subnet for gateway %s", text)
		}
		pools[i].Gateway = text
	}

	for _, spec := range aux {
		name, text, ok := strings.Cut(spec, "=")
		i := at(text)
		if !ok || name == "" || i < 0 {
			return fault.Invalidf("--aux-address "+spec, "aux-address", "no matching subnet for aux-address %s", text)
		}
		if pools[i].Aux == nil {
			pools[i].Aux = map[string]string{}
		}
		pools[i].Aux[name] = text
	}

	return nil
}

// holds reports whether a subnet contains an address. A subnet of any address can contain each
// address of its family.
func holds(n netip.Prefix, addr netip.Addr) bool {
	return n.Contains(addr) || n.Addr().IsUnspecified() && addr.IsValid() && n.Addr().Is4() == addr.Is4()
}

// ParseKeyValues parses KEY=VALUE or KEY. Each key can be given once.
func ParseKeyValues(flag string, specs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range specs {
		key, value, _ := strings.Cut(s, "=")
		if _, twice := out[key]; key == "" || twice {
			return nil, fault.Invalidf("--"+flag+" "+s, flag, "must be KEY=VALUE, each key once")
		}
		out[key] = value
	}
	return out, nil
}
