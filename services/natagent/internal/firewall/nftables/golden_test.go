package nftables_test

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testnft"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/firewalltest"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
)

var update = flag.Bool("update", false, "write the golden files")

// listed returns our table.
func listed(n *testns.NS) string { return testnft.Table(n, "inet", "fairlead") }

func TestTableMatchesGoldenFiles(t *testing.T) {
	with := func(change func(*firewall.Network)) []firewall.Network {
		n := state(0).Networks[0]
		change(&n)
		return []firewall.Network{n}
	}
	plain := with(func(*firewall.Network) {})

	chains := ""
	for name, s := range map[string]firewall.State{
		"empty":         {},
		"network":       {Networks: plain},
		"no_masquerade": {Networks: with(func(n *firewall.Network) { n.Masquerade = false })},
		"no_icc":        {Networks: with(func(n *firewall.Network) { n.ICC = false })},
		"internal":      {Networks: with(func(n *firewall.Network) { n.Internal = true })},
		"unprotected": {Networks: with(func(n *firewall.Network) {
			n.Unprotected, n.Trusted, n.SNAT4 = n.Subnets, []string{"eth1"}, netip.MustParseAddr("10.1.0.5")
		})},
		"routed":            {Networks: with(func(n *firewall.Network) { n.Routed = n.Subnets }), Bindings: direct()},
		"published":         {Networks: plain, Bindings: published()},
		"published_ranges":  {Networks: plain, Bindings: ranges()},
		"published_sources": {Networks: plain, Bindings: restricted()},
		"all_options":       firewalltest.State(),
	} {
		t.Run(name, func(t *testing.T) {
			n := testns.New(t)
			mustSync(t, open(t, n, nftables.Features{}), s)
			got := listed(n)
			if chains == "" {
				chains = testnft.Rules(got)
			}
			if testnft.Rules(got) != chains {
				t.Errorf("the rules depend on the state: got\n%s\nwant\n%s", testnft.Rules(got), chains)
			}
			checkGolden(t, name, strings.TrimSuffix(got, testnft.Rules(got)))
		})
	}
	checkGolden(t, "rules", chains)
}

func TestAcceptMarkMatchesGoldenFile(t *testing.T) {
	n := testns.New(t)
	b := open(t, n, nftables.Features{Accept: firewall.Mark{Value: 0x10, Mask: 0xf0}})
	mustSync(t, b, firewall.State{})
	checkGolden(t, "rules_accept_mark", testnft.Rules(listed(n)))
}

// checkGolden compares a text with a golden file.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// TestEveryRuleHasComment checks that the table explains itself, and that refusals are counted.
func TestEveryRuleHasComment(t *testing.T) {
	n := testns.New(t)
	mustSync(t, open(t, n, nftables.Features{Accept: firewall.Mark{Value: 1, Mask: 1}}), firewall.State{})
	count := 0
	for line := range strings.Lines(testnft.Rules(listed(n))) {
		line = strings.TrimSpace(line)
		if line == "" || line == "}" || strings.HasSuffix(line, "{") || strings.HasPrefix(line, "type ") {
			continue
		}
		count++
		if !strings.Contains(line, ` comment "`) {
			t.Errorf("rule without a comment: %s", line)
		}
		if strings.Contains(line, " drop ") && !strings.Contains(line, "counter drop") {
			t.Errorf("refusal without a counter: %s", line)
		}
		if strings.Contains(line, "established") && strings.Contains(line, "counter") {
			t.Errorf("counter in the path of each packet: %s", line)
		}
	}
	if count < 50 {
		t.Errorf("got %d rules, want at least 50", count)
	}
	for _, set := range strings.Split(listed(n), "\n\tset ")[1:] {
		if !strings.Contains(set, "\n\t\tcomment \"") {
			t.Errorf("set without a comment: %s", set)
		}
	}
}

// TestCounters checks that the first packets of connections and refusals are counted, and that Sync ignores the values.
func TestCounters(t *testing.T) {
	tp := firewalltest.NewTopology(t)
	b := open(t, tp.Host, nftables.Features{})
	mustSync(t, b, firewalltest.State())
	for range 3 {
		tp.Try(firewalltest.Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080"}, time.Minute)
	}
	tp.Try(firewalltest.Case{From: "ext", Network: "tcp", To: "10.10.1.2:80"}, 100*time.Millisecond)

	text := tp.Host.Run("nft", "list", "table", "inet", "fairlead")
	for _, want := range []string{
		`counter packets 3 bytes \d+ dnat ip to .* comment "port of all addresses"`,
		`ct status dnat counter packets [3-9] bytes \d+ accept comment "published ports and addresses"`,
		`counter packets [1-9]\d* bytes \d+ drop comment "not published"`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("got no match of %s in\n%s", want, testnft.Rules(text))
		}
	}

	if c := mustSync(t, b, firewalltest.State()); c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
		t.Errorf("Sync after counted packets changed %+v", c)
	}
	if after := tp.Host.Run("nft", "list", "chain", "inet", "fairlead", "published"); !strings.Contains(after,
		"counter packets 3 ") {
		t.Errorf("Sync reset the counters:\n%s", after)
	}
}

// TestTakeoverOfTableBeforeRename converts the table of an earlier version. Package firewalltest
// checks connections; this checks that the chains with hooks stay and that nothing old remains.
func TestTakeoverOfTableBeforeRename(t *testing.T) {
	for _, flags := range []string{"", "owned"} {
		t.Run("table "+flags, func(t *testing.T) {
			fresh, n := testns.New(t), testns.New(t)
			f := nftables.Features{}
			if flags != "" {
				f = owning(t, n)
			}
			mustSync(t, open(t, fresh, f), firewalltest.State())
			n.Run("nft", "-f", "testdata/before_rename.nft")

			b := open(t, n, f)
			if c, err := b.Compare(context.Background(), firewalltest.State()); err != nil || !c.Rebuilt {
				t.Errorf("Compare: got %+v, %v, want Rebuilt", c, err)
			}
			before := hooks(n)
			if c := mustSync(t, b, firewalltest.State()); !c.Rebuilt || len(c.Removed) != 0 {
				t.Errorf("got %+v, want Rebuilt", c)
			}
			if got, want := listed(n), listed(fresh); sorted(got) != sorted(want) {
				t.Errorf("after the takeover: got\n%s\nwant\n%s", got, want)
			}
			if after := hooks(n); flags == "" && !containsLines(after, before) {
				t.Errorf("chains with hooks were replaced: got\n%s\nbefore\n%s", after, before)
			}
			if c := mustSync(t, b, firewalltest.State()); c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
				t.Errorf("a second Sync changes %+v", c)
			}
		})
	}
}

// containsLines reports whether all lines of some are in text.
func containsLines(text, some string) bool {
	lines := strings.Split(text, "\n")
	return !slices.ContainsFunc(strings.Split(some, "\n"), func(l string) bool { return !slices.Contains(lines, l) })
}

// hooks returns the chains with hooks and their handles.
func hooks(n *testns.NS) string {
	var out []string
	name := ""
	for line := range strings.Lines(n.Run("nft", "-a", "list", "chains", "inet")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "chain ") {
			name = line
		}
		if strings.HasPrefix(line, "type ") {
			out = append(out, name)
		}
	}
	return strings.Join(out, "\n")
}

// published returns bindings of single ports.
func published() []port.Binding {
	return []port.Binding{
		binding("tcp", "0.0.0.0", 8080, "10.10.1.2", 80), binding("tcp", "::", 8080, "fd10:1::2", 80),
		binding("udp", "0.0.0.0", 53, "10.10.1.2", 5353), binding("sctp", "0.0.0.0", 9, "10.10.1.2", 9),
		binding("tcp", "127.0.0.1", 5432, "10.10.1.3", 5432), binding("tcp", "fd01::1", 5432, "fd10:1::3", 5432),
	}
}

// ranges returns bindings of port ranges and addresses.
func ranges() []port.Binding {
	all := binding("udp", "0.0.0.0", 10000, "10.10.1.2", 10000)
	all.Host.Last, all.Container.Last = 60000, 60000
	one := binding("udp", "fd01::1", 7000, "fd10:1::2", 7000)
	one.Host.Last, one.Container.Last = 7010, 7010
	return []port.Binding{all, one, address("10.1.0.7", "10.10.1.3"), address("fd01::7", "fd10:1::3")}
}

// address returns a binding of a published address.
func address(host, container string) port.Binding {
	return port.Binding{Protocol: port.All, HostIP: netip.MustParseAddr(host),
		ContainerIP: netip.MustParseAddr(container), SNAT: true}
}

// restricted returns bindings with allowed sources.
func restricted() []port.Binding {
	some := []port.Binding{
		binding("tcp", "0.0.0.0", 8080, "10.10.1.2", 80), binding("tcp", "::", 8080, "fd10:1::2", 80),
		binding("tcp", "10.1.0.1", 5432, "10.10.1.3", 5432), address("10.1.0.7", "10.10.1.3"),
	}
	for i := range some {
		some[i].Sources = "10.0.0.0/9,192.168.8.2/32"
		if some[i].HostIP.Is6() {
			some[i].Sources = "fd00::/8"
		}
	}
	return some
}

// direct returns bindings with direct access.
func direct() []port.Binding {
	run := binding("udp", "10.10.1.2", 10000, "10.10.1.2", 10000)
	run.Host.Last, run.Container.Last = 10100, 10100
	some := binding("tcp", "10.10.1.3", 5432, "10.10.1.3", 5432)
	some.Sources = "10.1.0.3/32,10.9.0.0/16"
	return []port.Binding{binding("tcp", "10.10.1.2", 80, "10.10.1.2", 80), run,
		binding("tcp", "fd10:1::2", 80, "fd10:1::2", 80), some}
}
