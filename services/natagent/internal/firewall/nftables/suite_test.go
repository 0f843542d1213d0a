package nftables_test

import (
	"context"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/firewalltest"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func TestFirewallSuite(t *testing.T) {
	testns.NeedRoot(t)
	firewalltest.Run(t, openSuite)
}

func TestTakeoverDuringTraffic(t *testing.T) {
	testns.NeedRoot(t)
	firewalltest.Takeover(t, func(host *testns.NS) {
		_, _ = host.Try("nft", "delete", "table", "inet", "fairlead") // of the last takeover, if any
		host.Run("nft", "-f", "testdata/before_rename.nft")
	}, openSuite)
}

// openSuite opens the backend as natagent does.
func openSuite(t testing.TB, ns hostns.NS) firewall.Firewall {
	f, err := nftables.Probe(context.Background(), ns)
	if err != nil {
		t.Fatal(err)
	}
	b, err := nftables.Open(ns, nfevents.New(ns), f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
