package e2e

import (
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// The host's address that is published whole.
const (
	wholeIPv4 = "192.168.8.116"
	wholeIPv6 = "fd00:8::116"
)

// isolated is the bridge that has no address.
const isolated = "isolated0"

// The ports of the first server, and of the greeter that every asker has to itself.
const (
	firstPort = 7100
	ownPort   = 7000
)

// kind is a kind of network, and what makes one.
type kind struct {
	name, what string
	options    []string
}

// kinds are all of them. The first is the default network, which the agent makes.
func kinds() []kind {
	const driver = "com.docker.network.bridge."
	mode := func(name string) []string {
		return []string{"-o", driver + "gateway_mode_ipv4=" + name, "-o", driver + "gateway_mode_ipv6=" + name}
	}
	return []kind{
		{"bridge", "the default network", nil},
		{"user", "a network of one's own", nil},
		{"icc-off", "a network whose containers are kept apart", []string{"-o", driver + "enable_icc=false"}},
		{"internal", "an internal network", []string{"--internal"}},
		{"masq-off", "a network that is not masqueraded", []string{"-o", driver + "enable_ip_masquerade=false"}},
		{"unprotected", "a network in the gateway mode nat-unprotected", mode("nat-unprotected")},
		{"routed", "a network in the gateway mode routed", mode("routed")},
		{"isolated", "an internal network in the gateway mode isolated", append(mode("isolated"), "--internal", "-o", driver+"name="+isolated)},
	}
}

// subnets are those of the kind with a number, without their last part.
func subnets(number int) (v4, v6 string) {
	return fmt.Sprintf("10.89.%d.", number), fmt.Sprintf("fd00:89:%d::", number)
}

// bridges are the addresses of the bridge of a kind of network; of no kind, none.
func bridges(name string) (v4, v6 netip.Addr) {
	for i, k := range kinds() {
		if k.name == name {
			a, b := subnets(i)
			return netip.MustParseAddr(a + "1"), netip.MustParseAddr(b + "1")
		}
	}
	return netip.Addr{}, netip.Addr{}
}

// server is a container that is asked, or a machine, and a block of the table.
type server struct {
	name, what   string
	network      string // of a container
	publish      []string
	host4, host6 string // where its port is at the host, or at its machine
	port         int
}

// servers are all of them, a container for each kind of network first, then those that are published otherwise, then machines.
func servers() []server {
	var all []server
	add := func(name, what, network, host4, host6 string, publish func(port int) []string) {
		port := firstPort + len(all)
		all = append(all, server{name, what, network, publish(port), host4, host6, port})
	}
	everywhere := func(port int) []string { return publishAt(port, "") }
	for _, k := range kinds() {
		add(k.name, k.what, k.name, lab.HostIPv4, lab.HostIPv6, everywhere)
	}
	nowhere := func(int) []string { return nil }
	add("closed", "on a network in the gateway mode routed, with nothing published", "routed", lab.HostIPv4, lab.HostIPv6, nowhere)
	add("one-address", "on a network of one's own, published on one address of the host", "user", lab.HostIPv4, lab.HostIPv6,
		func(port int) []string { return publishAt(port, lab.HostIPv4+":", "["+lab.HostIPv6+"]:") })
	add("loopback", "on a network of one's own, published on 127.0.0.1 and ::1", "user", lab.HostIPv4, lab.HostIPv6,
		func(port int) []string { return publishAt(port, "127.0.0.1:", "[::1]:") })
	add("whole", "on a network of one's own, with a whole address of the host", "user", wholeIPv4, wholeIPv6,
		func(int) []string { return []string{"--publish-address", wholeIPv4, "--publish-address", wholeIPv6} })
	add("host", "no container, but what listens on the host", "", lab.HostIPv4, lab.HostIPv6, nowhere)
	add("outside", "no container, but what listens on the neighbour host", "", lab.ClientIPv4, lab.ClientIPv6, nowhere)
	return all
}

// publishAt are the flags that publish a port by both transports on some addresses.
func publishAt(port int, addresses ...string) []string {
	var flags []string
	for _, a := range addresses {
		for _, transport := range transports {
			flags = append(flags, "-p", fmt.Sprintf("%s%d:%d/%s", a, port, port, transport))
		}
	}
	return flags
}

// askers are those who ask a server, in the order of the table's rows.
func (s server) askers() []string {
	var rows []string
	if s.network != "" {
		rows = append(rows, "same network")
	}
	for _, k := range kinds() {
		if k.name != s.network {
			rows = append(rows, "on "+k.name)
		}
	}
	if s.network == "" {
		rows = append(rows, "whole address")
	} else {
		rows = append(rows, "joined", "self")
	}
	return append(rows, "host", "neighbour host")
}

// place is where one of the askers is in the lab.
func (s server) place(asker string) string {
	special := map[string]string{"same network": "on " + s.network, "joined": "joined to " + s.name, "self": s.name,
		"whole address": "whole", "neighbour host": "outside"}
	if at, ok := special[asker]; ok {
		return at
	}
	return asker
}

// columns of a server are those at which it can be asked.
func (s server) columns() []string {
	if s.network == "" {
		return columns[2:]
	}
	return columns[:]
}

// serverNamed is one of the servers.
func serverNamed(name string) server {
	for _, s := range servers() {
		if s.name == name {
			return s
		}
	}
	return server{}
}

// machineAddresses are those at which a machine of the lab is asked.
func machineAddresses(name string) []string {
	if name == "host" {
		return []string{lab.HostIPv4, lab.HostIPv6, "127.0.0.1", "::1"}
	}
	return []string{lab.ClientIPv4, lab.ClientIPv6, "::1"}
}
