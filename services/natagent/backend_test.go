package natagent_test

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent"
)

// inNFTables and inIPTables report which backends have rules of Fairlead.
func inNFTables(n *testns.NS) bool {
	_, err := n.Try("nft", "list", "table", "inet", "fairlead")
	return err == nil
}

func inIPTables(n *testns.NS) bool {
	return strings.Contains(n.Run("sh", "-c",
		"iptables-save; ip6tables-save; iptables-legacy-save; ip6tables-legacy-save"), "FAIRLEAD")
}

func TestBackendSwitchKeepsConnections(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.host.Run("iptables", "-P", "FORWARD", "DROP") // each backend passes this chain in its own way
	r := startWith(t, s.host, root, natagent.BackendNFTables, io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "fd10:1::2", "8080:80"))
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
	stop := traffic(s.ext, "10.1.0.1:8080")
	for _, backend := range []string{natagent.BackendIPTables, natagent.BackendNFTables, natagent.BackendIPTables} {
		r.stop()
		r = startWith(t, s.host, root, backend, io.Discard)
		if nft, ipt := inNFTables(s.host), inIPTables(s.host); nft == ipt ||
			ipt != (backend == natagent.BackendIPTables) {
			t.Errorf("with %s: rules in nf_tables %v, in iptables %v", backend, nft, ipt)
		}
		wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
		wantAnswer(t, s.ext, "[fd01::1]:8080", "a")
	}

	if asked, failed := stop(); len(failed) > 0 || asked == 0 {
		t.Errorf("%d of %d connections failed: %s", len(failed), asked, failed)
	}
	if rules := s.host.Run("iptables", "-S", "FORWARD"); strings.Contains(rules, "brA") {
		t.Errorf("rules in FORWARD are left:\n%s", rules)
	}

	release(t, r, "a")
	if _, err := r.DeleteNetwork(context.Background(), &natv1.DeleteNetworkRequest{Id: networkID(0)}); err != nil {
		t.Fatal(err)
	}
	if rules := s.host.Run("iptables-save"); strings.Contains(rules, "brA") || strings.Contains(rules, "10.10.1") {
		t.Errorf("left behind:\n%s", rules)
	}
}

func TestIPTablesRulesNameContainerAndPort(t *testing.T) {
	n := testns.New(t)
	r := startWith(t, n, t.TempDir(), natagent.BackendIPTables, io.Discard)
	mustPublish(t, r, request("nginx01", "172.17.0.2", "", "8888:80"))
	list := n.Run("iptables", "-t", "nat", "-vnL")
	for _, want := range []string{"/* nginx01 80/tcp */", "to:172.17.0.2:80", "ADDRTYPE match dst-type LOCAL"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in\n%s", want, list)
		}
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
