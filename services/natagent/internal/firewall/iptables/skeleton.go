package iptables

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// The chains. All but chainUser are ours alone.
const (
	prefix      = "FAIRLEAD-"
	chainRaw    = "FAIRLEAD-RAW"  // guards of the host's loopback
	chainDNAT   = "FAIRLEAD-DNAT" // a rule for each published port
	chainPost   = "FAIRLEAD-POST" // masquerading
	chainSNAT   = "FAIRLEAD-SNAT" // containers that leave as an address of their own
	chainUser   = "FAIRLEAD-USER" // the user's own
	chainFwd    = "FAIRLEAD-FWD"  // which bridges' packets are looked at
	chainTo     = "FAIRLEAD-TO"   // what reaches containers
	chainDirect = "FAIRLEAD-OWN"  // a rule for each port that is open at a container's own address
	chainFrom   = "FAIRLEAD-FROM" // what leaves them
)

// chain is a chain and its rules, each as iptables-save shows it without "-A NAME ".
type chain struct {
	name  string
	rules []string
}

// jumps are rules at the top of one of the kernel's chains, which lead into ours.
type jumps struct {
	from  string
	rules []string
}

// table is what we have in a table.
type table struct {
	name   string
	jumps  []jumps
	chains []chain
	user   string // a chain that is made if it is missing and else left alone
}

// skeleton is all but the published ports. The guards come first, as tables are written one after the other.
func skeleton(f family, networks []firewall.Network) []table {
	const local = "-m addrtype --dst-type LOCAL -j " + chainDNAT
	filter := table{name: "filter", user: chainUser,
		jumps:  []jumps{{"FORWARD", []string{"-j " + chainUser, "-j " + chainFwd}}},
		chains: []chain{{chainDirect, nil}, {chainTo, toRules(f, networks)}, {chainFrom, fromRules(f, networks)}, {chainFwd, forwardRules(networks)}}}
	nat := table{name: "nat",
		jumps: []jumps{{"PREROUTING", []string{local}}, {"OUTPUT", []string{local}},
			{"POSTROUTING", []string{"-j " + chainPost}}},
		chains: []chain{{chainDNAT, nil}, {chainSNAT, nil}, {chainPost, postRules(f, networks)}}}
	if f.v6 { // the kernel itself drops ::1 from outside
		return []table{filter, nat}
	}
	raw := table{name: "raw", jumps: []jumps{{"PREROUTING", []string{"-j " + chainRaw}}},
		chains: []chain{{chainRaw, []string{"-d 127.0.0.0/8 ! -i lo -j DROP", "-s 127.0.0.0/8 ! -i lo -j DROP"}}}}
	return []table{raw, filter, nat}
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

// toRules decide what reaches containers. That a connection was translated shows that its port is published; all else that
// is new, direct access to container addresses above all, is dropped, but for what is open at their own addresses.
func toRules(f family, networks []firewall.Network) []string {
	rules := append(f.marked(), known, "-m conntrack --ctstate INVALID -j DROP")
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
	return append(rules, ownAddressRules(f, networks)...)
}

// ownAddressRules decide what reaches containers at their own addresses: everybody what is open where nothing is translated, and only those
// that come from none of our bridges what is open elsewhere.
func ownAddressRules(f family, networks []firewall.Network) (rules []string) {
	var open, apart []string
	for _, n := range networks {
		for _, p := range n.Routed {
			if p.Addr().Is6() == f.v6 && !n.Internal {
				to := "-d " + p.String() + " -o " + n.Bridge
				rules = append(rules, to+" -p "+f.icmp()+" -j ACCEPT")
				open = append(open, to+" -j "+chainDirect)
			}
		}
		if !n.Internal { // else it is dropped already
			apart = append(apart, "-i "+n.Bridge+" -j DROP")
		}
	}
	return slices.Concat(rules, open, apart, []string{"-j " + chainDirect, "-j DROP"})
}

func fromRules(f family, networks []firewall.Network) []string {
	rules := append(f.marked(), known, "-m conntrack --ctstate INVALID -j DROP")
	for _, n := range networks {
		if n.Internal {
			rules = append(rules, "-i "+n.Bridge+" -j DROP")
		}
	}
	return append(rules, "-j ACCEPT")
}

// marked lets packets with a mark pass, whatever they are.
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

// postRules give the bridge's address to connections whose answers would else not come back through the host, and the
// host's address to what leaves it. What goes from bridge to bridge keeps its own.
func postRules(f family, networks []firewall.Network) []string {
	loopback := "127.0.0.0/8"
	if f.v6 {
		loopback = "::1/128"
	}
	var local, hairpin, bridges, leaving []string
	for _, n := range networks {
		local = append(local, "-s "+loopback+" -o "+n.Bridge+f.masquerade())
		bridges = append(bridges, "-o "+n.Bridge+" -j RETURN")
		for _, p := range n.Subnets {
			if p.Addr().Is6() != f.v6 || n.Internal || slices.Contains(n.Routed, p) {
				continue
			}
			hairpin = append(hairpin, "-s "+p.String()+" -o "+n.Bridge+" -m conntrack --ctstate DNAT"+f.masquerade())
			if n.Masquerade {
				as := f.masquerade()
				if to := f.source(n); to.IsValid() {
					as = " -j SNAT --to-source " + to.String()
				}
				leaving = append(leaving, "-s "+p.String()+" ! -o "+n.Bridge+as)
			}
		}
	}
	return slices.Concat(local, hairpin, bridges, []string{"-j " + chainSNAT}, leaving)
}

// networkBatch writes all chains that depend on networks.
func networkBatch(f family, networks []firewall.Network) string {
	var text strings.Builder
	for _, t := range skeleton(f, networks) {
		if t.name == "raw" {
			continue
		}
		t.chains = slices.DeleteFunc(t.chains, func(c chain) bool { return c.ofBindings() })
		t.write(&text)
	}
	return text.String()
}

// ofBindings tells whether the chain's rules are those of published ports and addresses.
func (c chain) ofBindings() bool {
	return c.name == chainDNAT || c.name == chainSNAT || c.name == chainDirect
}

// write writes the chains of a table anew.
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

// declare makes the chain, or empties it.
func (c chain) declare(text *strings.Builder) { text.WriteString(":" + c.name + " - [0:0]\n") }

func (c chain) fill(text *strings.Builder) {
	for _, r := range c.rules {
		text.WriteString("-A " + c.name + " " + r + "\n")
	}
}

// icmp is the protocol of pings, as iptables-save shows it.
func (f family) icmp() string {
	if f.v6 {
		return "ipv6-icmp"
	}
	return "icmp"
}

// source is the address that a network's traffic of the family leaves as; not valid without one.
func (f family) source(n firewall.Network) netip.Addr {
	if f.v6 {
		return n.SNAT6
	}
	return n.SNAT4
}
