package diagnose_test

import (
	"context"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/agent/test/testseccomp"
	"github.com/fairlead/fairlead/services/natagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
)

// quiet is a host without foreign rules.
type quiet struct{}

func (quiet) ForwardChains(context.Context) ([]firewall.ForwardChain, error) { return nil, nil }
func (quiet) ExternalChanges() reconcile.ExternalChanges                     { return reconcile.ExternalChanges{} }
func (quiet) Tools(context.Context) []string                                 { return nil }

// look returns the findings by name for a running backend.
func look(t *testing.T, inUse string) map[string]diagnosis.Finding {
	t.Helper()
	d := diagnose.New(hostns.At(testns.New(t).Fd()), quiet{}, inUse, quiet{}, quiet{})
	out := map[string]diagnosis.Finding{}
	for _, f := range d.Run(t.Context()) {
		out[f.Name] = f
	}
	return out
}

func TestRunReportsWorkingFeatures(t *testing.T) {
	testns.NeedRoot(t)
	found := look(t, "nftables")
	for _, name := range []string{"backend", "nftables", "conntrack", "external changes"} {
		if f, ok := found[name]; !ok || f.Severity != diagnosis.OK {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestRunReportsMissingFeatures(t *testing.T) {
	if !testseccomp.WithoutNetfilter(t) {
		return
	}

	for inUse, severity := range map[string]diagnosis.Severity{"nftables": diagnosis.Problem,
		"iptables-legacy": diagnosis.Note} {
		found := look(t, inUse)
		nft := found["nftables"]
		if nft.Severity != severity || !strings.Contains(nft.Text, "kernel: does not support nf_tables") ||
			nft.Hint != "firewall-backend iptables works without it" {
			t.Errorf("%s in use: %+v", inUse, nft)
		}
		if f := found["iptables-nft"]; f.Severity != diagnosis.Note ||
			f.Hint != "needed for firewall-backend iptables only" {
			t.Errorf("%s in use: %+v", inUse, f)
		}
		if f := found["conntrack"]; f.Severity != diagnosis.Problem ||
			!strings.Contains(f.Text, "module nf_conntrack_netlink") {
			t.Errorf("%s in use: %+v", inUse, f)
		}
		if _, said := found["table owner"]; said {
			t.Errorf("%s in use: got a finding about the table owner", inUse)
		}
	}
}
