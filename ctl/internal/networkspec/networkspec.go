// Package networkspec reads what people write after --network of run and create, and the subnets of `network create`. It is pure, and
// checks what can be told before an agent is asked.
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

// Attachment is a network with what a container wants of it. What is empty was not given.
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
	Allowed   []string // subnets that the container may send from
}

// IsBare tells whether nothing but the network is given.
func (a Attachment) IsBare() bool {
	return len(a.Aliases) == 0 && a.IPv4 == "" && a.IPv6 == "" && a.MAC == "" && a.Priority == 0 && a.Interface == "" &&
		len(a.LinkLocal)+len(a.Sysctls)+len(a.Allowed) == 0
}

// The endpoint options: the name of the interface inside, its kernel parameters, and further source addresses.
const (
	optInterface = "com.docker.network.endpoint.ifname"
	optSysctls   = "com.docker.network.endpoint.sysctls"
	optAllowed   = "allowed-addresses"
)

// Parse reads NETWORK, or name=NETWORK and options, separated by commas.
func Parse(spec string) (Attachment, error) {
	if !strings.Contains(spec, "=") {
		if spec == "" {
			return Attachment{}, invalid(spec, "no network is named")
		}
		return Attachment{Network: spec}, nil
	}
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return Attachment{}, fault.New(fault.Invalid, "--network "+spec, "cannot be read", fault.WithField("network"), fault.WithCause(err))
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
			return invalid(spec, "unexpected key '%s'; an option that has commas stands in double quotes, as in 'name=N,\"driver-opt=K=A,B\"'", key)
		}
		return invalid(spec, "unexpected key '%s'; known are name, alias, ip, ip6, link-local-ip, mac-address, gw-priority and driver-opt", key)
	}
	return err
}

// DriverOption reads an endpoint option, KEY=VALUE.
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
		return fault.Invalidf(subject, "driver-opt", "invalid driver-opt %s; known are %s=NAME, %s=net.ipv4.conf.IFNAME.NAME=VALUE,… and %s=CIDR,…",
			option, optInterface, optSysctls, optAllowed)
	}
	return nil
}

// allow reads subnets that the container may send from.
func (a *Attachment) allow(subject, text string) error {
	for one := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil {
			return fault.New(fault.Invalid, subject, "invalid subnet "+one+" in "+optAllowed, fault.WithField("driver-opt"),
				fault.WithHint("write subnets as ADDRESS/BITS, separated by commas"))
		}
		a.Allowed = append(a.Allowed, p.Masked().String())
	}
	return nil
}

// AddLinkLocal reads a link-local address.
func (a *Attachment) AddLinkLocal(subject, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || !addr.IsLinkLocalUnicast() {
		return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+text, fault.WithField("link-local-ip"),
			fault.WithHint("it is of 169.254.0.0/16 or of fe80::/10"))
	}
	a.LinkLocal = append(a.LinkLocal, addr.String())
	return nil
}

func invalid(spec, format string, args ...any) error {
	return fault.Invalidf("--network "+spec, "network", format, args...)
}

// Address reads an address of one family, and writes it as everybody does.
func Address(subject, field, text string, is func(netip.Addr) bool) (string, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || !is(addr) || addr.Zone() != "" {
		return "", fault.Invalidf(subject, field, "invalid IP address: %s", text)
	}
	return addr.String(), nil
}

// Link reads CONTAINER[:NAME] of --link.
func Link(spec string) (container, alias string, err error) {
	container, alias, given := strings.Cut(spec, ":")
	if container == "" || given && alias == "" || strings.Contains(alias, ":") {
		return "", "", fault.Invalidf("--link "+spec, "link", "bad format for links: %s", spec)
	}
	return container, alias, nil
}

// MAC reads a hardware address, and writes it as everybody does.
func MAC(subject, text string) (string, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return "", fault.Invalidf(subject, "mac-address", "%s is not a valid mac address", text)
	}
	return mac.String(), nil
}

// Pool is a subnet with what lies in it.
type Pool struct {
	Subnet, Range, Gateway string
	Aux                    map[string]string
}

// Pools puts ranges, gateways and aux addresses (NAME=IP) to the subnets that they lie in. Each must lie in one.
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
			return nil, fault.Invalidf("--subnet "+text, "subnet", "multiple overlapping subnet configuration is not supported")
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

// place puts gateways and aux addresses into their pools.
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

// holds tells whether an address lies in a subnet; one that is any of its length may hold every address of its family.
func holds(n netip.Prefix, addr netip.Addr) bool {
	return n.Contains(addr) || n.Addr().IsUnspecified() && addr.IsValid() && n.Addr().Is4() == addr.Is4()
}

// ParseKeyValues reads KEY=VALUE or KEY, each key once.
func ParseKeyValues(flag string, specs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range specs {
		key, value, _ := strings.Cut(s, "=")
		if _, twice := out[key]; key == "" || twice {
			return nil, fault.Invalidf("--"+flag+" "+s, flag, "write KEY=VALUE, each key once")
		}
		out[key] = value
	}
	return out, nil
}
