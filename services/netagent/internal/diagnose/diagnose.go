// Package diagnose probes the features of the host that netagent needs, for the command doctor. It
// leaves the host unchanged.
package diagnose

import (
	"strings"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// Areas of findings.
const (
	drivers = "network drivers"
	options = "network options"
	host    = "host"

	spoofing = "port guard"
)

// linkText describes the use of a link type, and how to install it.
type linkText struct {
	area, name, works string
	worst             diagnosis.Severity
	hint              string
}

func linkTexts() map[string]linkText {
	note, problem := diagnosis.Note, diagnosis.Problem
	return map[string]linkText{
		"bridge": {drivers, "bridge", "networks of this driver can be created", problem,
			"load or build it: modprobe bridge veth (CONFIG_BRIDGE, CONFIG_VETH)"},
		"macvlan": {drivers, "macvlan", "networks of this driver can be created", note,
			"load or build it: modprobe macvlan (CONFIG_MACVLAN)"},
		"ipvlan": {drivers, "ipvlan", "networks of this driver can be created", note,
			"load or build it: modprobe ipvlan (CONFIG_IPVLAN)"},
		"vxlan": {drivers, "vxlan", "networks across hosts could be created", note,
			"load or build it: modprobe vxlan (CONFIG_VXLAN)"},
		"802.1q": {options, "parent=LINK.VLAN", "VLAN devices can be created", note,
			"load or build them: modprobe 8021q (CONFIG_VLAN_8021Q)"},
		"locked": {spoofing, "locked ports", "a bridge port accepts only its container's MAC", note,
			"a kernel of 5.18 or later has locked ports; without them nftables alone checks MACs"},
		"isolated": {options, "enable_icc=false", "containers of a bridge can be isolated", note,
			"a kernel of 4.18 or later has isolated ports of bridges"},
	}
}

// Run runs all probes. guard is the reason that the port guard is missing, or nil.
func Run(h *kernel.Host, guard error) []diagnosis.Finding {
	tries, err := kernel.ProbeLinks()
	read := func(path string) string {
		value, _ := h.ReadSysctl(path)
		return value
	}
	return findings(tries, err, guard, read)
}

// findings converts the results of the probes and the host's sysctls. If err is set, no probe could
// run.
func findings(tries []kernel.ProbeResult, err, guard error, read func(sysctl string) string) []diagnosis.Finding {
	if err != nil {
		return []diagnosis.Finding{diagnosis.Check(drivers, "bridge", "", err, diagnosis.Problem,
			"netagent needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and a kernel with network namespaces, bridge and veth")}
	}

	var out []diagnosis.Finding
	texts := linkTexts()
	for _, t := range tries {
		text := texts[t.What]
		out = append(out, diagnosis.Check(text.area, text.name, text.works, t.Err, text.worst, text.hint))
	}

	out = append(out, diagnosis.Check(spoofing, "source addresses",
		"a bridge port accepts only its container's addresses (nftables)", guard,
		diagnosis.Problem,
		"load or build nftables for bridges: modprobe nf_tables "+
			"(CONFIG_NF_TABLES_BRIDGE, CONFIG_NF_TABLES_INET)"))
	return append(out, sysctls(read)...)
}

// sysctls checks sysctls of the host that affect containers' traffic.
func sysctls(read func(path string) string) []diagnosis.Finding {
	var out []diagnosis.Finding
	ipv6 := diagnosis.Finding{Area: host, Name: "IPv6", Text: "containers can have IPv6 addresses"}
	if off := read("net/ipv6/conf/all/disable_ipv6"); off != "0" {
		ipv6.Severity, ipv6.Text = diagnosis.Note, "the host has no IPv6, so nothing is published on it"
		ipv6.Hint = "boot without ipv6.disable=1, and set net.ipv6.conf.all.disable_ipv6=0"
	}

	out = append(out, ipv6)
	forwarding := diagnosis.Finding{Area: host, Name: "forwarding", Text: "the host forwards on all interfaces"}
	if read("net/ipv4/ip_forward") != "1" {
		forwarding.Text = "the host forwards only on bridges of containers and their uplinks"
	}

	out = append(out, forwarding)
	if on := read("net/bridge/bridge-nf-call-iptables"); strings.TrimSpace(on) == "1" {
		out = append(out, diagnosis.Finding{Area: host, Name: "br_netfilter", Severity: diagnosis.Note,
			Text: "packets within a bridge pass the firewall too: " +
				"containers cannot reach published ports of other containers on an enable_icc=false network",
			Hint: "set net.bridge.bridge-nf-call-iptables=0 unless another program, usually Kubernetes, needs it"})
	}

	return out
}
