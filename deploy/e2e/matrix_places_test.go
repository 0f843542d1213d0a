package e2e

import (
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// The published address of the host.
const (
	wholeIPv4 = "192.168.8.116"
	wholeIPv6 = "fd00:8::116"
)

// isolated is the name of the bridge without an address.
const isolated = "isolated0"

// The port of the first server, and the port of the greeter of each client.
const (
	firstPort = 7100
	ownPort   = 7000
)

// kind is a kind of network and the options that create it.
type kind struct {
	name, what string
	options    []string
}

// kinds returns all kinds of networks. The first is the default network, which the agent creates.
func kinds() []kind {
	const driver = "com.docker.network.bridge."
	mode := func(name string) []string {
		return []string{"-o", driver + "gateway_mode_ipv4=" + name, "-o", driver + "gateway_mode_ipv6=" + name}
	}
	return []kind{
		{"bridge", "the default network", nil},
		{"user", "a user-defined network", nil},
		{"icc-off", "a network without ICC", []string{"-o", driver + "enable_icc=false"}},
		{"internal", "an internal network", []string{"--internal"}},
		{"masq-off", "a network without masquerading", []string{"-o", driver + "enable_ip_masquerade=false"}},
		{"unprotected", "a network in gateway mode nat-unprotected", mode("nat-unprotected")},
		{"routed", "a network in gateway mode routed", mode("routed")},
		{"isolated", "an internal network in gateway mode isolated",
			append(mode("isolated"), "--internal", "-o", driver+"name="+isolated)},
	}
}

// subnets returns the address prefixes of the networks of a kind.
func subnets(number int) (v4, v6 string) {
	return fmt.Sprintf("10.89.%d.", number), fmt.Sprintf("fd00:89:%d::", number)
}

// bridges returns the addresses of the bridge of a kind of network.
func bridges(name string) (v4, v6 netip.Addr) {
	for i, k := range kinds() {
		if k.name == name {
			a, b := subnets(i)
			return netip.MustParseAddr(a + "1"), netip.MustParseAddr(b + "1")
		}
	}
	return netip.Addr{}, netip.Addr{}
}

// server is a container or machine that accepts connections, and a block of the table.
type server struct {
	name, what   string
	network      string // empty: a machine
	publish      []string
	host4, host6 string // addresses of the published port
	port         int
}

// servers returns all servers: a container for each kind of network, containers with other port
// mappings, and machines.
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
	add("closed", "in a routed network, without published ports", "routed", lab.HostIPv4, lab.HostIPv6, nowhere)
	add("one-address", "in a user-defined network, published on one address of the host", "user",
		lab.HostIPv4, lab.HostIPv6,
		func(port int) []string { return publishAt(port, lab.HostIPv4+":", "["+lab.HostIPv6+"]:") })
	add("loopback", "in a user-defined network, published on 127.0.0.1 and ::1", "user", lab.HostIPv4, lab.HostIPv6,
		func(port int) []string { return publishAt(port, "127.0.0.1:", "[::1]:") })
	add("whole", "in a user-defined network, with a published address of the host", "user", wholeIPv4, wholeIPv6,
		func(int) []string { return []string{"--publish-address", wholeIPv4, "--publish-address", wholeIPv6} })
	add("host", "a process on the host", "", lab.HostIPv4, lab.HostIPv6, nowhere)
	add("outside", "a process on the neighbour host", "", lab.ClientIPv4, lab.ClientIPv6, nowhere)
	return all
}

// publishAt returns the flags that publish a port by TCP and UDP on some addresses.
func publishAt(port int, addresses ...string) []string {
	var flags []string
	for _, a := range addresses {
		for _, transport := range transports {
			flags = append(flags, "-p", fmt.Sprintf("%s%d:%d/%s", a, port, port, transport))
		}
	}
	return flags
}

// clients returns the clients of a server, in the order of the rows of the table.
func (s server) clients() []string {
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

// place returns the place of a client in the lab.
func (s server) place(client string) string {
	special := map[string]string{"same network": "on " + s.network, "joined": "joined to " + s.name, "self": s.name,
		"whole address": "whole", "neighbour host": "outside"}
	if at, ok := special[client]; ok {
		return at
	}
	return client
}

// columns returns the columns that apply to a server.
func (s server) columns() []string {
	if s.network == "" {
		return columns[2:]
	}
	return columns[:]
}

// serverNamed returns a server by name.
func serverNamed(name string) server {
	for _, s := range servers() {
		if s.name == name {
			return s
		}
	}
	return server{}
}

// machineAddresses returns the addresses of the greeter of a machine.
func machineAddresses(name string) []string {
	if name == "host" {
		return []string{lab.HostIPv4, lab.HostIPv6, "127.0.0.1", "::1"}
	}
	return []string{lab.ClientIPv4, lab.ClientIPv6, "::1"}
}
