package portguard_test

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testnft"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

var update = flag.Bool("update", false, "write the golden files")

// TestTablesMatchGoldenFile checks the tables as nft shows them, with a port and two bridges. Counters have no values.
func TestTablesMatchGoldenFile(t *testing.T) {
	ns := testns.New(t)
	g := open(t, ns)
	p := port(2)
	p.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd01::/64")}
	for _, b := range []portguard.Bridge{
		{Name: "docker0", Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}},
		{Name: "br-inner", Internal: true, Subnets: []netip.Prefix{netip.MustParsePrefix("fd02::/64")}},
	} {
		must(t, g.PutBridge(b))
	}
	must(t, g.PutPort(p))

	got := ""
	for _, family := range []string{"bridge", "inet"} {
		got += testnft.Table(ns, family, portguard.TableName)
	}

	const file = "testdata/tables.golden"
	if *update {
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEveryRuleHasComment(t *testing.T) {
	text, err := os.ReadFile("testdata/tables.golden")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		verdict := slices.ContainsFunc([]string{" accept", " drop", " return", "goto ", "jump ", "counter drop"},
			func(v string) bool { return strings.Contains(line, v) })
		if !verdict || strings.HasPrefix(line, "type ") {
			continue
		}
		if !strings.Contains(line, ` comment "`) {
			t.Errorf("rule without a comment: %s", line)
		}
		if strings.Contains(line, "drop") && !strings.Contains(line, "counter drop") {
			t.Errorf("refusal without a counter: %s", line)
		}
	}
}
