package nftables_test

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func at(n *testns.NS) hostns.NS { return hostns.At(n.Fd()) }

func probe(t testing.TB, n *testns.NS) nftables.Features {
	t.Helper()
	f, err := nftables.Probe(context.Background(), at(n))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// owning skips the test if the kernel does not support table owners; in CI the test fails.
func owning(t testing.TB, n *testns.NS) nftables.Features {
	t.Helper()
	f := probe(t, n)
	if !f.Owner && os.Getenv("CI") != "" {
		t.Fatal("kernel does not support table owners")
	}
	if !f.Owner {
		t.Skip("needs table owners (Linux 6.9)")
	}
	return f
}

func open(t testing.TB, n *testns.NS, f nftables.Features) *nftables.Backend {
	t.Helper()
	b, err := nftables.Open(at(n), nfevents.New(at(n)), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func mustSync(t testing.TB, b *nftables.Backend, want firewall.State) firewall.Change {
	t.Helper()
	c, err := b.Sync(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func state(ports int) firewall.State {
	s := firewall.State{Networks: []firewall.Network{{ID: "a", Bridge: "brA", Masquerade: true, ICC: true,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24"), netip.MustParsePrefix("fd10:1::/64")}}}}
	for i := range ports {
		s.Bindings = append(s.Bindings, binding("tcp", "0.0.0.0", uint16(10000+i), "10.10.1.2", 80))
	}
	return s
}

func binding(proto port.Protocol, host string, number uint16, ctr string, ctrPort uint16) port.Binding {
	return port.Binding{Protocol: proto, HostIP: netip.MustParseAddr(host), Host: port.Single(number),
		ContainerIP: netip.MustParseAddr(ctr), Container: port.Single(ctrPort)}
}

// ruleset returns the nf_tables ruleset with handles.
func ruleset(n *testns.NS) string { return n.Run("nft", "-a", "list", "ruleset") }

func TestProbingLeavesNothing(t *testing.T) {
	n := testns.New(t)
	probe(t, n)
	if got := ruleset(n); got != "" {
		t.Errorf("after the probe:\n%s", got)
	}
}

func TestNewOwnerClaimsTable(t *testing.T) {
	n := testns.New(t)
	f := owning(t, n)
	first := open(t, n, f)
	want := state(20)
	if c := mustSync(t, first, want); !c.Rebuilt {
		t.Error("the first Sync did not write the rules")
	}

	before := ruleset(n) // recreated objects would have new handles
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := open(t, n, f)
	if c := mustSync(t, second, want); c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
		t.Errorf("claiming changed %+v", c)
	}
	if after := ruleset(n); sorted(after) != sorted(before) {
		t.Errorf("the table was changed by claiming it\nbefore:\n%s\nafter:\n%s", before, after)
	}

	if err := second.AddBindings(context.Background(),
		[]port.Binding{binding("udp", "127.0.0.1", 53, "10.10.1.2", 53)}); err != nil {
		t.Errorf("Publish by the new owner: %v", err)
	}
}

// sorted makes a listing comparable: it sorts sets and elements, and removes flags that nft prints
// only without an owner.
func sorted(listing string) string {
	lines := strings.FieldsFunc(listing, func(r rune) bool { return r == '\n' || r == ',' || r == '{' || r == '}' })
	kept := map[string]int{}
	for _, l := range lines {
		if l = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), "elements = ")); l != "" &&
			!strings.HasPrefix(l, "flags owner") &&
			!strings.HasPrefix(l, "# progname") {
			kept[l]++
		}
	}

	out := make([]string, 0, len(kept))
	for l := range kept {
		out = append(out, l)
	}

	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestOwnedTableRejectsChanges(t *testing.T) {
	n := testns.New(t)
	f := owning(t, n)
	b := open(t, n, f)
	mustSync(t, b, state(3))
	for _, args := range [][]string{
		{"delete", "table", "inet", "fairlead"},
		{"flush", "chain", "inet", "fairlead", "forward"},
		{"delete", "element", "inet", "fairlead", "dnat4_any", "{ tcp . 10000 }"},
	} {
		if out, err := n.Try("nft", args...); err == nil {
			t.Errorf("nft %s was allowed: %s", strings.Join(args, " "), out)
		}
	}

	n.Run("nft", "flush", "ruleset")
	if c := mustSync(t, b, state(3)); c.Rebuilt || c.Added != 0 {
		t.Errorf("after flush ruleset, Sync had to do %+v", c)
	}
	if _, err := open(t, n, f).Sync(context.Background(), state(3)); !fault.Is(err, fault.Busy) {
		t.Errorf("Sync of a second natagent: %v, want a Busy fault", err)
	}
}

func TestExternalChangesToUnownedTableAreReverted(t *testing.T) {
	for name, change := range map[string][]string{
		"flush ruleset":   {"flush", "ruleset"},
		"delete table":    {"delete", "table", "inet", "fairlead"},
		"flush chain":     {"flush", "chain", "inet", "fairlead", "to_bridge"},
		"insert rule":     {"insert", "rule", "inet", "fairlead", "forward", "accept"},
		"delete element":  {"delete", "element", "inet", "fairlead", "dnat4_any", "{ tcp . 10000 }"},
		"foreign element": {"add", "element", "inet", "fairlead", "dnat4_any", "{ tcp . 9 : 10.10.1.2 . 9 }"},
		"foreign chain":   {"add", "chain", "inet", "fairlead", "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testns.New(t)
			b := open(t, n, nftables.Features{})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			mustSync(t, b, state(3))
			changed, err := b.Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			before := n.Run("nft", "list", "ruleset")
			n.Run("nft", change...)
			select {
			case <-changed:
			case <-time.After(60 * time.Second):
				t.Fatal("the change was not noticed")
			}
			if c := mustSync(t, b, state(3)); !c.Rebuilt && c.Added == 0 && len(c.Removed) == 0 {
				t.Error("Sync found no difference")
			}
			if after := n.Run("nft", "list", "ruleset"); sorted(after) != sorted(before) {
				t.Errorf("not restored\nbefore:\n%s\nafter:\n%s", before, after)
			}
			if c := mustSync(t, b, state(3)); c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
				t.Errorf("a second Sync still changes %+v", c)
			}
		})
	}
}

func TestOwnChangesAreNotSignalled(t *testing.T) {
	n := testns.New(t)
	b := open(t, n, nftables.Features{})
	mustSync(t, b, state(0))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}

	for range 20 {
		if err := b.AddBindings(ctx, state(5).Bindings); err != nil {
			t.Fatal(err)
		}
		if err := b.RemoveBindings(ctx, state(5).Bindings); err != nil {
			t.Fatal(err)
		}
	}

	for _, verb := range []string{"add", "delete"} { // events are ordered: earlier signals are our own
		n.Run("nft", verb, "chain", "inet", "fairlead", "mine")
		select {
		case <-changed:
		case <-time.After(60 * time.Second):
			t.Fatalf("%s of a chain was not signalled", verb)
		}
	}

	select {
	case <-changed:
		t.Error("got more signals than the two external changes")
	default:
	}
}

func TestForwardChainsOfOthersAreListed(t *testing.T) {
	n := testns.New(t)
	b := open(t, n, nftables.Features{})
	mustSync(t, b, state(0))
	n.Run("nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy "+
		"drop; }; "+
		"add table inet mine; add chain inet mine through { type filter hook forward priority 5; }; add chain inet "+
		"mine inward { type filter hook input priority 0; policy drop; }")

	got, err := b.ForwardChains(context.Background())
	if err != nil {
		t.Fatal(err)
	}

	want := []firewall.ForwardChain{{Family: "ip", Table: "filter", Name: "FORWARD", Drops: true},
		{Family: "inet", Table: "mine", Name: "through"}}

	if len(got) != 2 || got[0] != want[0] && got[1] != want[0] || got[0] != want[1] && got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}
