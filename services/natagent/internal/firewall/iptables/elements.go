package iptables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// dnatRules returns the rules of a published port, port range or address, in iptables-save format.
// Without allowed sources this is one rule. Otherwise it is one rule per source, one for the host
// itself (whose packets to its own addresses leave by lo), and a last one that ends the search for
// all other clients.
func dnatRules(b port.Binding) []string {
	host, match, target := "", "", b.ContainerIP.String()
	if !b.HostIP.IsUnspecified() {
		host = "-d " + single(b.HostIP) + " "
	}

	switch {
	case b.IsRange():
		match = fmt.Sprintf("-p %s -m %s --dport %d:%d ", b.Protocol, b.Protocol, b.Host.First, b.Host.Last)
	case !b.IsAddress():
		match = fmt.Sprintf("-p %s -m %s --dport %d ", b.Protocol, b.Protocol, b.Host.First)
		target = b.Target().String()
	}

	match += fmt.Sprintf(`-m comment --comment "%s" `, comment(b))
	dnat := "-j DNAT --to-destination " + target
	if b.Sources == "" {
		return []string{host + match + dnat}
	}

	var rules []string
	for _, from := range b.Sources.Strings() {
		rules = append(rules, "-s "+from+" "+host+match+dnat)
	}

	return append(rules, host+"-o lo "+match+dnat, host+match+"-j ACCEPT")
}

// snatRule returns the rule that sets the source of a container's egress.
func snatRule(b port.Binding) string {
	return fmt.Sprintf(`-s %s -m comment --comment "%s" -j SNAT --to-source %s`, single(b.ContainerIP), comment(b), b.HostIP)
}

// single formats an address as a prefix.
func single(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// comment names the container and what it publishes: web 80/tcp, web 8000-8100/udp, web all ports.
func comment(b port.Binding) string {
	const longest = 200 // the kernel accepts 255 bytes
	name := strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && !strings.ContainsRune("\"'\\", r) {
			return r
		}
		return '_'
	}, b.OwnerName)

	what := fmt.Sprintf("%d/%s", b.Container.First, b.Protocol)
	switch {
	case b.IsAddress():
		what = "all ports"
	case b.IsRange():
		what = fmt.Sprintf("%d-%d/%s", b.Host.First, b.Host.Last, b.Protocol)
	}

	return strings.TrimSpace(fmt.Sprintf("%.*s %s", longest, name, what))
}

// priority orders the rules in the chain: 0 for ports of one address, 1 for published addresses, 2
// for ports of all addresses.
func priority(b port.Binding) int {
	switch {
	case b.IsAddress():
		return 1
	case b.HostIP.IsUnspecified():
		return 2
	}
	return 0
}

// addRules returns the commands that add a binding. narrow is the number of rules with priority 0.
func addRules(b port.Binding, narrow int) string {
	var lines []string
	rules, at := dnatRules(b), 1
	if b.IsAddress() {
		at = narrow + 1
	}

	for i := range rules {
		if priority(b) == 2 {
			lines = append(lines, "-A "+chainDNAT+" "+rules[i])
			continue
		}
		lines = append(lines, fmt.Sprintf("-I %s %d %s", chainDNAT, at, rules[len(rules)-1-i]))
	}

	if b.SNAT {
		lines = append(lines, "-A "+chainSNAT+" "+snatRule(b))
	}

	return strings.Join(lines, "\n")
}

func removeRules(b port.Binding) string {
	var lines []string
	for _, rule := range dnatRules(b) {
		lines = append(lines, "-D "+chainDNAT+" "+rule)
	}
	if b.SNAT {
		lines = append(lines, "-D "+chainSNAT+" "+snatRule(b))
	}
	return strings.Join(lines, "\n")
}

// bindingRules returns the DNAT rules of a family, in chain order.
func bindingRules(f family, bindings []port.Binding) []string {
	var at [3][]string
	for _, b := range translated(bindings) {
		if b.HostIP.Is6() == f.v6 {
			at[priority(b)] = append(at[priority(b)], dnatRules(b)...)
		}
	}
	return slices.Concat(at[:]...)
}

// egressRules returns the SNAT rules of a family.
func egressRules(f family, bindings []port.Binding) (rules []string) {
	for _, b := range bindings {
		if b.SNAT && b.HostIP.Is6() == f.v6 {
			rules = append(rules, snatRule(b))
		}
	}
	return rules
}

// inOrder reports whether the rules are in chain order.
func inOrder(f family, rules []string) bool {
	last := 0
	ended := map[hostPort]bool{} // no further rule can match the port
	for _, r := range rules {
		end := target(r) == "ACCEPT"
		b, ok := parseBinding(f, r)
		if !ok && !end || priority(b) < last || ended[keyOf(b)] {
			return false
		}
		last = priority(b)
		ended[keyOf(b)] = end
	}

	return true
}

// parseBinding parses the rule of a binding, except SNAT and the allowed sources. ok is false for
// other rules, including the last rule of a binding with sources.
func parseBinding(f family, rule string) (b port.Binding, ok bool) {
	b = port.Binding{Protocol: port.All, HostIP: netip.IPv4Unspecified()}
	if f.v6 {
		b.HostIP = netip.IPv6Unspecified()
	}

	words := strings.Fields(rule)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "-d":
			if p, err := netip.ParsePrefix(words[i+1]); err == nil {
				b.HostIP = p.Addr()
			}
		case "-p":
			b.Protocol = port.Protocol(words[i+1])
		case "--dport":
			b.Host = parsePorts(words[i+1])
		case "--comment":
			b.OwnerName = parseName(words[i+1:])
		case "--to-destination":
			b.ContainerIP, b.Container = parseTarget(words[i+1], b.Host)
		}
	}

	if b.IsAddress() {
		return b, b.Host.IsZero() && b.Container.IsZero() && b.ContainerIP.IsValid() && !b.HostIP.IsUnspecified()
	}

	return b, b.Protocol.Number() != 0 && b.Host.First != 0 && b.Container.First != 0 && b.ContainerIP.IsValid()
}

// parseName returns the name at the start of a comment, or "".
func parseName(words []string) string {
	name := strings.TrimPrefix(words[0], `"`)
	if strings.HasSuffix(name, `"`) || name == "all" && len(words) > 1 && words[1] == `ports"` {
		return ""
	}
	return name
}

// parsePorts parses "80" or "8000:8010".
func parsePorts(s string) port.Range {
	a, b, isRange := strings.Cut(s, ":")
	n, _ := strconv.ParseUint(a, 10, 16)
	if !isRange {
		return port.Single(uint16(n))
	}
	end, _ := strconv.ParseUint(b, 10, 16)
	return port.Range{First: uint16(n), Last: uint16(end)}
}

// parseTarget parses "ADDRESS:PORT" or "ADDRESS", for which it returns the host ports.
func parseTarget(s string, host port.Range) (netip.Addr, port.Range) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), port.Single(ap.Port())
	}
	addr, _ := netip.ParseAddr(s)
	return addr, host
}

func sortedNetworks(networks map[string]firewall.Network) []firewall.Network {
	out := make([]firewall.Network, 0, len(networks))
	for _, id := range slices.Sorted(maps.Keys(networks)) {
		out = append(out, networks[id])
	}
	return out
}
