package nftables_test

import (
	"context"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/firewalltest"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func TestFirewallSuite(t *testing.T) {
	testns.NeedRoot(t)
	firewalltest.Run(t, func(t testing.TB, ns hostns.NS) firewall.Firewall {
		f, err := nftables.Probe(context.Background(), ns)
		if err != nil {
			t.Fatal(err)
		}
		b, err := nftables.Open(ns, f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
