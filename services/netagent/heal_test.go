package netagent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// TestExternalChangesAreRepaired makes each change and waits until the former state and connectivity
// between containers and host are restored.
func TestExternalChangesAreRepaired(t *testing.T) {
	for name, change := range map[string]func(a *agent, sb endpoint.Sandbox){
		"bridge routes flushed": func(a *agent, _ endpoint.Sandbox) {
			a.ns.Run("ip", "route", "flush", "dev", "docker0")
		},
		"IPv6 routes flushed": func(a *agent, _ endpoint.Sandbox) {
			a.ns.Run("ip", "-6", "route", "flush", "dev", "docker0")
		},
		"main table flushed": func(a *agent, _ endpoint.Sandbox) {
			a.ns.Run("ip", "route", "flush", "table", "main")
		},
		"bridge down": func(a *agent, _ endpoint.Sandbox) {
			a.ns.Run("ip", "link", "set", "docker0", "down")
		},
		"bridge renamed": renameBridge,
		"port detached": func(a *agent, sb endpoint.Sandbox) {
			a.ns.Run("ip", "link", "set", portOf(sb), "nomaster")
		},
		"port down": func(a *agent, sb endpoint.Sandbox) {
			a.ns.Run("ip", "link", "set", portOf(sb), "down")
		},
		"veth deleted": func(a *agent, sb endpoint.Sandbox) { a.ns.Run("ip", "link", "del", portOf(sb)) },
		"eth0 down":    func(a *agent, sb endpoint.Sandbox) { a.in(sb, "ip", "link", "set", "eth0", "down") },
		"eth0 deleted": func(a *agent, sb endpoint.Sandbox) { a.in(sb, "ip", "link", "del", "eth0") },
		"eth0 without addresses": func(a *agent, sb endpoint.Sandbox) {
			a.in(sb, "ip", "addr", "flush", "dev",
				"eth0")
		},
		"eth0 readdressed": func(a *agent, sb endpoint.Sandbox) {
			a.in(sb, "sh", "-c", "ip addr add 172.17.9.9/32 dev eth0; ip addr del 172.17.0.2/16 dev eth0")
		},
		"default route deleted": func(a *agent, sb endpoint.Sandbox) { a.in(sb, "ip", "route", "del", "default") },
		"routes of eth0 flushed": func(a *agent, sb endpoint.Sandbox) {
			a.in(sb, "ip", "route", "flush", "dev", "eth0")
		},
		"MAC changed while down": func(a *agent, sb endpoint.Sandbox) {
			a.in(sb, "sh", "-c", // by one process, before the repair sets it up
				"printf 'link set eth0 down\nlink set eth0 address 02:00:00:00:00:99\n"+
					"link set eth0 up\n' | ip -batch -")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64")
			a := h.run()
			sb, other := a.container(), a.container()
			a.mustReach(sb.NetnsPath, a.address(other))
			state := func() string { return a.networkState(sb) }
			before := state()
			time.Sleep(200 * time.Millisecond) // no pending event of the launches must trigger the repair
			change(a, sb)
			a.eventually("the state is restored:\n"+before, func() bool { return state() == before })
			a.mustReach(sb.NetnsPath, a.address(other))
			a.mustReach(a.ns.Path(), a.address(sb))
			a.mustReach(a.ns.Path(), sb.Endpoints[0].IPv6.Addr().String())
			a.mustReach(sb.NetnsPath, "172.17.0.1")
		})
	}
}

func portOf(sb endpoint.Sandbox) string { return sb.Endpoints[0].HostInterface }

func renameBridge(a *agent, _ endpoint.Sandbox) {
	a.ns.Run("sh", "-c",
		"ip link set docker0 name gone0 || { ip link set docker0 down; ip link set docker0 name gone0; }")
}

// networkState returns routes, addresses and neighbour entries of a sandbox and its bridge, without
// values that change.
func (a *agent) networkState(sb endpoint.Sandbox) string {
	shown, err := a.ns.Try("sh", "-c",
		"ip route show dev docker0; ip -6 route show dev docker0 | grep fd00; ip -br link show master docker0 | "+
			"wc -l; "+
			"nsenter --net="+sb.NetnsPath+" sh -c 'ip route; ip -6 route | grep -v fe80; ip -br addr show dev eth0; "+
			"ip neigh show nud permanent'")
	if err != nil {
		return err.Error()
	}

	var lines []string
	for line := range strings.Lines(shown) {
		words := strings.Fields(line)
		for i, w := range words {
			if strings.HasPrefix(w, "eth0@if") {
				words[i] = "eth0"
			}
		}
		words = without(words, "linkdown")
		lines = append(lines, strings.Join(words, " "))
	}

	return strings.Join(lines, "\n")
}

func without(words []string, word string) (out []string) {
	for _, w := range words {
		if w != word && !strings.HasPrefix(w, "fe80") {
			out = append(out, w)
		}
	}
	return out
}

func TestReleasedSandboxesAreNotRepaired(t *testing.T) {
	a := newHost(t).run()
	for range 10 {
		a.release(a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "bridge"}}}))
	}
	a.checkNoState()
}

func TestFlushedResolverRulesAreRepaired(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	files, err := fdpass.Fetch(t.Context(), a.fdSocket, fdpass.Request{Kind: "resolver", Owner: sb.Owner})
	if err != nil {
		t.Fatal(err)
	}

	for _, f := range files {
		defer f.Close()
	}

	rules := func() string { return a.in(sb, "nft", "list", "ruleset") }
	before := rules()
	if !strings.Contains(before, "dport 53") {
		t.Fatalf("got no rules for the resolver:\n%s", before)
	}

	for _, flush := range []string{"flush ruleset", "flush table ip fairlead-dns", "delete table ip fairlead-dns"} {
		a.in(sb, "nft", flush)
		a.eventually("the rules are restored after "+flush, func() bool { return rules() == before })
	}
}

// Bridges of IPv6-only networks can have the same MAC, which is derived from the end of the gateway
// address.
func TestIPv6OnlyNetworksKeepBridges(t *testing.T) {
	a := newHost(t).run()
	no := false
	var bridges []string
	for name, subnet := range map[string]string{"n1": "fd00:88:1::/64", "n2": "fd00:88:2::/64",
		"n3": "fd00:88:3::/64"} {
		want := withSubnet(name, subnet)
		want.IPv4 = &no
		bridges = append(bridges, a.network(want).Bridge().Device)
	}

	for _, bridge := range bridges {
		a.ns.Run("ip", "link", "show", bridge)
	}
}
