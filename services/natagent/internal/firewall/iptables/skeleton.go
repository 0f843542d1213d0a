package iptables

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Chain names. Users can add rules to chainUser only.
const (
	prefix       = "FAIRLEAD-"
	chainRaw     = "FAIRLEAD-RAW"     // drops loopback addresses from outside
	chainDNAT    = "FAIRLEAD-DNAT"    // a rule for each published port
	chainPost    = "FAIRLEAD-POST"    // masquerade and SNAT
	chainSNAT    = "FAIRLEAD-SNAT"    // SNAT of containers with a published address
	chainUser    = "FAIRLEAD-USER"    // the user's rules
	chainForward = "FAIRLEAD-FORWARD" // selects packets from and to bridges
	chainTo      = "FAIRLEAD-TO"      // filters ingress to containers
	chainDirect  = "FAIRLEAD-DIRECT"  // a rule for each port with direct access
	chainFrom    = "FAIRLEAD-FROM"    // filters egress of containers

	chainInput         = "FAIRLEAD-INPUT"          // filters what other hosts send to this one
	chainFrames        = "FAIRLEAD-FRAMES"         // filters frames of other hosts before they are unpacked
	chainForged        = "FAIRLEAD-FORGED"         // drops frames from containers
	chainToTunnel      = "FAIRLEAD-TO-TUNNEL"      // filters packets to containers of other hosts
	chainFromTunnel    = "FAIRLEAD-FROM-TUNNEL"    // filters packets from containers of other hosts
	chainToEncrypted   = "FAIRLEAD-TO-ENCRYPTED"   // filters packets of encrypted networks to other hosts
	chainFromEncrypted = "FAIRLEAD-FROM-ENCRYPTED" // filters packets of encrypted networks from other hosts
	chainMSS           = "FAIRLEAD-MSS"            // lowers the MSS of connections to other hosts
)

// chain is a chain and its rules in iptables-save format, without "-A NAME ".
type chain struct {
	name  string
	rules []string
}

// jumps are the rules at the top of a built-in chain that jump to our chains.
type jumps struct {
	from  string
	rules []string
}

// table is the part of a table that the backend manages.
type table struct {
	name   string
	jumps  []jumps
	chains []chain
	user   string // created if missing, never changed
}

// scope holds the objects that the skeleton depends on.
type scope struct {
	networks []firewall.Network // sorted by ID
	tunnel   *firewall.Tunnel
}

// skeleton returns all chains except the rules of bindings. The drop rules come first, because
// tables are written sequentially.
func skeleton(f family, in scope) []table {
	networks := in.networks
	const local = "-m addrtype --dst-type LOCAL -j " + chainDNAT
	filter := table{name: "filter", user: chainUser,
		jumps: []jumps{{"FORWARD", []string{"-j " + chainUser, "-j " + chainForward}}},
		chains: []chain{{chainDirect, nil}, {chainTo, toRules(f, networks)}, {chainFrom, fromRules(f, networks)},
			{chainForward, append(f.tunnelRules(in), forwardRules(networks)...)}}}
	mangle := table{name: "mangle", jumps: []jumps{{"FORWARD", nil}}}
	filter.jumps = append(filter.jumps, jumps{"INPUT", nil})
	if in.tunnel != nil {
		filter.jumps[1].rules = []string{"-j " + chainInput}
		filter.chains = slices.Concat(f.tunnelChains(in), filter.chains)
		mangle.jumps[0].rules, mangle.chains = []string{"-j " + chainMSS}, f.mssChains(in.tunnel)
	}

	nat := table{name: "nat",
		jumps: []jumps{{"PREROUTING", []string{local}}, {"OUTPUT", []string{local}},
			{"POSTROUTING", []string{"-j " + chainPost}}},
		chains: []chain{{chainDNAT, nil}, {chainSNAT, nil},
			{chainPost, append(tunnelPostRules(in.tunnel), postRules(f, networks)...)}}}

	if f.v6 { // the kernel drops ::1 from outside
		return []table{filter, nat, mangle}
	}

	raw := table{name: "raw", jumps: []jumps{{"PREROUTING", []string{"-j " + chainRaw}}},
		chains: []chain{{chainRaw, []string{"-d 127.0.0.0/8 ! -i lo -j DROP", "-s 127.0.0.0/8 ! -i lo -j DROP"}}}}

	return []table{raw, filter, nat, mangle}
}

const known = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"

func forwardRules(networks []firewall.Network) (rules []string) {
	for _, n := range networks {
		rules = append(rules, "-o "+n.Bridge+" -j "+chainTo)
	}
	for _, n := range networks {
		rules = append(rules, "-i "+n.Bridge+" -j "+chainFrom)
	}
	return rules
}

// toRules filters ingress to containers. Connections with DNAT are to published ports. Other new
// connections are dropped, unless direct access is configured.
func toRules(f family, networks []firewall.Network) []string {
	rules := slices.Concat(f.forgedClear(networks), f.marked(), []string{known,
		"-m conntrack --ctstate INVALID -j DROP"})
	for _, n := range networks {
		if n.ICC {
			rules = append(rules, "-i "+n.Bridge+" -o "+n.Bridge+" -j ACCEPT")
		}
	}

	for _, n := range networks {
		if n.Internal {
			rules = append(rules, "-i "+n.Bridge+" -j DROP", "-o "+n.Bridge+" -j DROP")
		}
	}

	for _, n := range networks {
		if n.Internal {
			continue
		}
		for _, trusted := range n.Trusted {
			rules = append(rules, "-i "+trusted+" -o "+n.Bridge+" -j ACCEPT")
		}
		for _, p := range n.Unprotected {
			if p.Addr().Is6() == f.v6 {
				rules = append(rules, "-d "+p.String()+" -o "+n.Bridge+" -j ACCEPT")
			}
		}
	}

	rules = append(rules, "-m conntrack --ctstate DNAT -j ACCEPT")
	return append(rules, directAccessRules(f, networks)...)
}

// directAccessRules filters direct access. On routed networks all sources can connect to published
// ports; elsewhere only those outside of our bridges.
func directAccessRules(f family, networks []firewall.Network) (rules []string) {
	var open, isolated []string
	for _, n := range networks {
		for _, p := range n.Routed {
			if p.Addr().Is6() == f.v6 && !n.Internal {
				to := "-d " + p.String() + " -o " + n.Bridge
				rules = append(rules, to+" -p "+f.icmp()+" -j ACCEPT")
				open = append(open, to+" -j "+chainDirect)
			}
		}
		if !n.Internal { // internal networks are closed already
			isolated = append(isolated, "-i "+n.Bridge+" -j DROP")
		}
	}

	return slices.Concat(rules, open, isolated, []string{"-j " + chainDirect, "-j DROP"})
}

func fromRules(f family, networks []firewall.Network) []string {
	rules := slices.Concat(f.clearRules(networks), f.marked(), []string{known,
		"-m conntrack --ctstate INVALID -j DROP"})
	for _, n := range networks {
		if n.Internal {
			rules = append(rules, "-i "+n.Bridge+" -j DROP")
		}
	}
	return append(rules, "-j ACCEPT")
}

// marked accepts all packets with the configured mark.
func (f family) marked() []string {
	switch m := f.accept; m.Mask {
	case 0:
		return nil
	case math.MaxUint32:
		return []string{fmt.Sprintf("-m mark --mark %#x -j ACCEPT", m.Value)}
	default:
		return []string{fmt.Sprintf("-m mark --mark %#x/%#x -j ACCEPT", m.Value, m.Mask)}
	}
}

// postRules masquerades connections whose replies would bypass the host otherwise, and egress. Connections
// from a network by the address of its gateway are of that kind, because the container of the published port
// may be on that network, too. Other traffic between bridges keeps its source.
func postRules(f family, networks []firewall.Network) []string {
	loopback := "127.0.0.0/8"
	if f.v6 {
		loopback = "::1/128"
	}

	var local, hairpin, gateway, bridges, egress []string
	for _, n := range networks {
		local = append(local, "-s "+loopback+" -o "+n.Bridge+f.masquerade())
		bridges = append(bridges, "-o "+n.Bridge+" -j RETURN")
		for _, p := range n.Subnets {
			if p.Addr().Is6() != f.v6 {
				continue
			}
			gateway = append(gateway, fmt.Sprintf("-s %s ! -o %s -m conntrack --ctstate DNAT --ctorigdst %s%s", p,
				n.Bridge, p, f.masquerade()))
			if n.Internal || slices.Contains(n.Routed, p) {
				continue
			}
			hairpin = append(hairpin, "-s "+p.String()+" -o "+n.Bridge+" -m conntrack --ctstate DNAT"+f.masquerade())
			if n.Masquerade {
				as := f.masquerade()
				if to := f.source(n); to.IsValid() {
					as = " -j SNAT --to-source " + to.String()
				}
				egress = append(egress, "-s "+p.String()+" ! -o "+n.Bridge+as)
			}
		}
	}

	return slices.Concat(local, hairpin, gateway, bridges, []string{"-j " + chainSNAT}, egress)
}

// networkBatch returns the restore text of all chains that depend on networks.
func networkBatch(f family, in scope) string {
	var text strings.Builder
	for _, t := range skeleton(f, in) {
		t.chains = slices.DeleteFunc(t.chains, func(c chain) bool { return c.ofBindings() })
		if t.name == "raw" || t.name == "mangle" {
			continue
		}
		t.write(&text)
	}
	return text.String()
}

// ofBindings reports whether the chain holds the rules of bindings.
func (c chain) ofBindings() bool {
	return c.name == chainDNAT || c.name == chainSNAT || c.name == chainDirect
}

// write writes all chains of a table with their rules.
func (t table) write(text *strings.Builder) {
	text.WriteString("*" + t.name + "\n")
	for _, c := range t.chains {
		c.declare(text)
	}
	for _, c := range t.chains {
		c.fill(text)
	}
	text.WriteString("COMMIT\n")
}

// declare creates the chain, or flushes it.
func (c chain) declare(text *strings.Builder) { text.WriteString(":" + c.name + " - [0:0]\n") }

func (c chain) fill(text *strings.Builder) {
	for _, r := range c.rules {
		text.WriteString("-A " + c.name + " " + r + "\n")
	}
}

// icmp returns the name of the ICMP protocol in iptables-save format.
func (f family) icmp() string {
	if f.v6 {
		return "ipv6-icmp"
	}
	return "icmp"
}

// source returns the SNAT address of a network; zero: masquerade.
func (f family) source(n firewall.Network) netip.Addr {
	if f.v6 {
		return n.SNAT6
	}
	return n.SNAT4
}
