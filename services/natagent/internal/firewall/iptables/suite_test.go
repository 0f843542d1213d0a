package iptables_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/firewalltest"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// eachFlavour runs a test with each installed flavor.
func eachFlavour(t *testing.T, test func(t *testing.T, flavour string)) {
	testns.NeedRoot(t)
	for _, flavour := range []string{iptables.NFT, iptables.Legacy} {
		t.Run(flavour, func(t *testing.T) {
			if _, err := exec.LookPath("iptables-" + flavour); err != nil && os.Getenv("CI") == "" {
				t.Skip("needs iptables-" + flavour)
			}
			test(t, flavour)
		})
	}
}

func open(t testing.TB, ns hostns.NS, flavour string) *iptables.Backend {
	t.Helper()
	f, err := iptables.Probe(context.Background(), ns, flavour)
	if err != nil {
		t.Fatal(err)
	}
	if f.Flavour != flavour {
		t.Fatalf("iptables-%s is of the flavour %q", flavour, f.Flavour)
	}

	b, err := iptables.Open(ns, nfevents.New(ns), f)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

func TestFirewallSuite(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		firewalltest.Run(t, func(t testing.TB, ns hostns.NS) firewall.Firewall { return open(t, ns, flavour) })
	})
}

// TestTakeoverDuringTraffic replaces chains of a version with other names.
func TestTakeoverDuringTraffic(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		install := func(host *testns.NS) {
			for _, command := range []string{"iptables", "ip6tables"} {
				host.Run("sh", "-ec", command+"-"+flavour+"-restore testdata/before_rename."+command)
			}
		}
		firewalltest.Takeover(t, install, func(t testing.TB, ns hostns.NS) firewall.Firewall {
			return open(t, ns, flavour)
		})
	})
}

func TestTakeoverRemovesOldChains(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		for _, command := range []string{"iptables", "ip6tables"} {
			n.Run("sh", "-ec", command+"-"+flavour+"-restore testdata/before_rename."+command)
		}
		b := opened(t, n, flavour)
		if c, err := b.Compare(context.Background(), firewalltest.State()); err != nil || !c.Rebuilt {
			t.Errorf("Compare: got %+v, %v, want Rebuilt", c, err)
		}
		mustSync(t, b, firewalltest.State())
		got := tables(saved(n, flavour))
		for _, name := range []string{"FAIRLEAD-FWD", "FAIRLEAD-OWN"} {
			if strings.Contains(got, name) {
				t.Errorf("%s remains:\n%s", name, got)
			}
		}

		fresh := testns.New(t)
		mustSync(t, opened(t, fresh, flavour), firewalltest.State())
		if want := tables(saved(fresh, flavour)); withoutEmptyTables(got) != withoutEmptyTables(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
