package iptables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/firewall"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// bindingRule is the rule of a published port, as iptables-save shows it.
func bindingRule(b publication.Binding) string {
	host := ""
	if !b.HostIP.IsUnspecified() {
		host = "-d " + netip.PrefixFrom(b.HostIP, b.HostIP.BitLen()).String() + " "
	}
	return fmt.Sprintf(`%s-p %s -m %s --dport %d -m comment --comment "%s" -j DNAT --to-destination %s`,
		host, b.Protocol, b.Protocol, b.HostPort, comment(b), b.Target())
}

// comment names the container and its port: web 80/tcp.
func comment(b publication.Binding) string {
	const longest = 200 // of the 255 that the kernel takes
	name := strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && !strings.ContainsRune("\"'\\", r) {
			return r
		}
		return '_'
	}, b.OwnerName)
	return strings.TrimSpace(fmt.Sprintf("%.*s %d/%s", longest, name, b.ContainerPort, b.Protocol))
}

// addRule puts a port into its place: those of one address come before those of all.
func addRule(b publication.Binding) string {
	if b.HostIP.IsUnspecified() {
		return "-A " + chainDNAT + " " + bindingRule(b)
	}
	return "-I " + chainDNAT + " 1 " + bindingRule(b)
}

func removeRule(b publication.Binding) string { return "-D " + chainDNAT + " " + bindingRule(b) }

// bindingRules are the rules of all bindings of a family, in the order of the chain.
func bindingRules(f family, bindings []publication.Binding) []string {
	var one, all []string
	for _, b := range bindings {
		switch {
		case b.HostIP.Is6() != f.v6:
		case b.HostIP.IsUnspecified():
			all = append(all, bindingRule(b))
		default:
			one = append(one, bindingRule(b))
		}
	}
	return append(one, all...)
}

// inOrder tells whether no port of one address comes after one of all.
func inOrder(rules []string) bool {
	wide := false
	for _, r := range rules {
		if strings.HasPrefix(r, "-d ") && wide {
			return false
		}
		wide = wide || !strings.HasPrefix(r, "-d ")
	}
	return true
}

// parseBinding reads a port's rule back; ok is false for rules of another form.
func parseBinding(f family, rule string) (b publication.Binding, ok bool) {
	b.HostIP = netip.IPv4Unspecified()
	if f.v6 {
		b.HostIP = netip.IPv6Unspecified()
	}
	var target netip.AddrPort
	words := strings.Fields(rule)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "-d":
			if p, err := netip.ParsePrefix(words[i+1]); err == nil {
				b.HostIP = p.Addr()
			}
		case "-p":
			b.Protocol = publication.Protocol(words[i+1])
		case "--dport":
			port, _ := strconv.ParseUint(words[i+1], 10, 16)
			b.HostPort = uint16(port)
		case "--comment":
			if name := strings.TrimPrefix(words[i+1], `"`); !strings.HasSuffix(name, `"`) {
				b.OwnerName = name
			}
		case "--to-destination":
			target, _ = netip.ParseAddrPort(words[i+1])
		}
	}
	b.ContainerIP, b.ContainerPort = target.Addr(), target.Port()
	return b, b.Protocol.Number() != 0 && b.HostPort != 0 && target.IsValid()
}

func sortedNetworks(networks map[string]firewall.Network) []firewall.Network {
	out := make([]firewall.Network, 0, len(networks))
	for _, id := range slices.Sorted(maps.Keys(networks)) {
		out = append(out, networks[id])
	}
	return out
}
