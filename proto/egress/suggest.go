package egress

import (
	"net/netip"
	"slices"
)

// Connection is a connection that was observed.
type Connection struct {
	Name     string // the name that the container had resolved; empty if there is none
	Address  string
	Protocol string
	Port     uint16
}

// Suggest returns the rules that allow all connections, sorted. Connections to an address with a name
// become a rule for the name.
func Suggest(all []Connection) (rules []string) {
	for _, c := range all {
		r := Rule{Kind: Domain, Name: c.Name, Ports: Ports{Protocol: Protocol(c.Protocol), First: c.Port, Last: c.Port}}
		if c.Name == "" {
			addr, err := netip.ParseAddr(c.Address)
			if err != nil {
				continue
			}
			r.Kind, r.Prefix = Prefix, netip.PrefixFrom(addr, addr.BitLen())
		}
		switch r.Ports.Protocol {
		case TCP, UDP, SCTP, ICMP:
		default:
			r.Ports = Ports{} // protocols without a name
		}
		rules = append(rules, r.String())
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}
