package iptables_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

var update = flag.Bool("update", false, "write the golden files")

// tables lists the tables in a fixed order.
func tables(text string) string {
	parts := strings.SplitAfter(text, "COMMIT\n")
	slices.Sort(parts)
	return strings.Join(parts, "")
}

func TestRulesMatchGoldenFiles(t *testing.T) {
	with := func(change func(*firewall.Network)) firewall.Network {
		n := network("A", "10.10.1.0/24", "fd10:1::/64")
		change(&n)
		return n
	}

	docker0 := network("", "172.17.0.0/16")
	docker0.Bridge = "docker0"
	for name, s := range map[string]firewall.State{
		"empty":         {},
		"network":       {Networks: []firewall.Network{with(func(*firewall.Network) {})}},
		"no_masquerade": {Networks: []firewall.Network{with(func(n *firewall.Network) { n.Masquerade = false })}},
		"no_icc":        {Networks: []firewall.Network{with(func(n *firewall.Network) { n.ICC = false })}},
		"internal":      {Networks: []firewall.Network{with(func(n *firewall.Network) { n.Internal = true })}},
		"two_networks": {Networks: []firewall.Network{network("A", "10.10.1.0/24"),
			network("B", "10.10.2.0/24", "fd10:2::/64")}},
		"published_s15": {Networks: []firewall.Network{docker0},
			Bindings: []port.Binding{binding("nginx01", "tcp", "0.0.0.0:32768", "172.17.0.2:80")}},
		"unprotected": {Networks: []firewall.Network{with(func(n *firewall.Network) {
			n.Unprotected, n.Trusted, n.SNAT4 = n.Subnets, []string{"eth1"}, netip.MustParseAddr("10.1.0.5")
		})}},
		"published_ranges": {Networks: []firewall.Network{network("A", "10.10.1.0/24", "fd10:1::/64")},
			Bindings: rangeForms()},
		"published_sources": {Networks: []firewall.Network{network("A", "10.10.1.0/24", "fd10:1::/64")},
			Bindings: sourceForms()},
		"routed": {Networks: []firewall.Network{with(func(n *firewall.Network) { n.Routed = n.Subnets })},
			Bindings: directForms()},
		"routed_ipv6": {Networks: []firewall.Network{with(func(n *firewall.Network) { n.Routed = n.Subnets[1:] })},
			Bindings: append(directForms()[2:3:3], binding("web", "tcp", "0.0.0.0:8080", "10.10.1.2:80"))},
		"direct_routing": {Networks: []firewall.Network{network("A", "10.10.1.0/24", "fd10:1::/64"),
			asRouted(network("B", "10.10.2.0/24"))},
			Bindings: slices.Concat(directForms(), []port.Binding{binding("web", "tcp", "0.0.0.0:8080",
				"10.10.1.2:80")})},
		"published_each": {Networks: []firewall.Network{network("A", "10.10.1.0/24", "fd10:1::/64")},
			Bindings: eachForm()},
	} {
		t.Run(name, func(t *testing.T) {
			eachFlavour(t, func(t *testing.T, flavour string) {
				n := testns.New(t)
				mustSync(t, opened(t, n, flavour), s)
				got, file := tables(saved(n, flavour)), filepath.Join("testdata", name+".golden")
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if withoutEmptyTables(got) != withoutEmptyTables(string(want)) {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
			})
		})
	}
}

// asRouted returns a routed network.
func asRouted(n firewall.Network) firewall.Network {
	n.Routed = n.Subnets
	return n
}

// directForms returns bindings with direct access.
func directForms() []port.Binding {
	run := binding("web", "udp", "10.10.1.2:10000", "10.10.1.2:10000")
	run.Host.Last = 10100
	run.Container = run.Host
	some := binding("db", "tcp", "10.10.1.3:5432", "10.10.1.3:5432")
	some.Sources = "10.1.0.3/32,10.9.0.0/16"
	return []port.Binding{binding("web", "tcp", "10.10.1.2:80", "10.10.1.2:80"), run,
		binding("web", "tcp", "[fd10:1::2]:80", "[fd10:1::2]:80"), some}
}

// withoutEmptyTables removes tables without rules, and built-in chains, which differ by flavor.
func withoutEmptyTables(text string) string {
	var out []string
	for part := range strings.SplitAfterSeq(text, "COMMIT\n") {
		lines := slices.DeleteFunc(strings.Split(part, "\n"), func(l string) bool {
			return strings.HasPrefix(l, ":") && !strings.HasPrefix(l, ":FAIRLEAD")
		})
		if len(lines) > 3 {
			out = append(out, strings.Join(lines, "\n"))
		}
	}
	return strings.Join(out, "")
}

func rangeForms() []port.Binding {
	run := binding("phone", "udp", "0.0.0.0:10000", "10.10.1.2:10000")
	run.Host.Last = 60000
	run.Container = run.Host
	whole := binding("mail", port.All, "10.1.0.7:0", "10.10.1.3:0")
	whole.SNAT = true
	whole6 := binding("mail", port.All, "[fd01::7]:0", "[fd10:1::3]:0")
	return []port.Binding{run, binding("web", "tcp", "10.1.0.7:8080", "10.10.1.2:80"), whole, whole6}
}

func sourceForms() []port.Binding {
	some := []port.Binding{
		binding("web", "tcp", "0.0.0.0:8080", "10.10.1.2:80"),
		binding("web", "tcp", "[::]:8080", "[fd10:1::2]:80"),
		binding("db", "tcp", "10.1.0.1:5432", "10.10.1.3:5432"),
		binding("mail", port.All, "10.1.0.7:0", "10.10.1.3:0"),
	}

	for i := range some {
		some[i].Sources = "10.0.0.0/9,192.168.8.2/32"
		if some[i].HostIP.Is6() {
			some[i].Sources = "fd00::/8"
		}
	}

	return some
}

func eachForm() []port.Binding {
	return []port.Binding{
		binding("web", "tcp", "0.0.0.0:8080", "10.10.1.2:80"),
		binding("web", "tcp", "[::]:8080", "[fd10:1::2]:80"),
		binding("web", "udp", "0.0.0.0:53", "10.10.1.2:5353"),
		binding("db", "tcp", "127.0.0.1:5432", "10.10.1.3:5432"),
		binding("db", "tcp", "10.1.0.1:5432", "10.10.1.3:5432"),
		binding("db", "tcp", "[fd01::1]:5432", "[fd10:1::3]:5432"),
		binding("", "sctp", "0.0.0.0:9", "10.10.1.2:9"),
		binding("o\"d d'\n\\", "tcp", "0.0.0.0:10", "10.10.1.2:10"),
	}
}
