package forwardpolicy_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/forwardpolicy"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func policy(t *testing.T, n *testns.NS) (*forwardpolicy.Policy, *bytes.Buffer) {
	t.Helper()
	ns := hostns.At(n.Fd())
	fw, err := nftables.Open(ns, nfevents.New(ns), nftables.Features{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fw.Close() })
	var log bytes.Buffer
	return forwardpolicy.New(ns, nfevents.New(ns), fw, "", slog.New(slog.NewTextHandler(&log, nil))), &log
}

func TestDropPolicyGetsTwoRulesPerBridge(t *testing.T) {
	for _, command := range []string{"iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"} {
		for _, docker := range []bool{false, true} {
			name, chain := command, "FORWARD"
			if docker {
				name, chain = command+" with Docker", "DOCKER-USER"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				n := testns.New(t)
				ctx := context.Background()
				if docker {
					n.Run(command, "-N", "DOCKER-USER")
					n.Run(command, "-A", "FORWARD", "-j", "DOCKER-USER")
					n.Run(command, "-A", "DOCKER-USER", "-j", "RETURN")
				}
				n.Run(command, "-P", "FORWARD", "DROP")
				before := n.Run(command, "-S")
				p, _ := policy(t, n)
				for range 2 {
					if err := p.Allow(ctx, "brA"); err != nil {
						t.Fatal(err)
					}
				}
				for _, some := range [][]string{{"brB"}, {"brA", "brB", "brC"}, {"brC", "brB", "brA"}} {
					if err := p.Allow(ctx, some...); err != nil {
						t.Fatal(err)
					}
				}
				rules := n.Run(command, "-S", chain)
				for _, want := range []string{"-i brA", "-o brA", "-i brB", "-o brB", "-i brC", "-o brC"} {
					if strings.Count(rules, "-A "+chain+" "+want+" ") != 1 {
						t.Errorf("%s is not there once:\n%s", want, rules)
					}
				}
				if docker && !strings.HasSuffix(rules, "-j RETURN") {
					t.Errorf("the rules come after Docker's RETURN:\n%s", rules)
				}
				for _, some := range [][]string{{"brA"}, {"brB", "brC"}, {"brA"}} {
					if err := p.Forget(ctx, some...); err != nil {
						t.Fatal(err)
					}
				}
				if after := n.Run(command, "-S"); after != before {
					t.Errorf("not as before\nbefore:\n%s\nafter:\n%s", before, after)
				}
			})
		}
	}
}

func TestAcceptPolicyIsUnchanged(t *testing.T) {
	n := testns.New(t)
	p, _ := policy(t, n)
	if err := p.Allow(context.Background(), "brA"); err != nil {
		t.Fatal(err)
	}
	if got := n.Run("nft", "list", "ruleset"); got != "" {
		t.Errorf("on a host without rules there is now:\n%s", got)
	}

	n.Run("iptables-nft", "-A", "FORWARD", "-i", "eth9", "-j", "DROP")
	before := n.Run("nft", "list", "ruleset")
	if err := p.Allow(context.Background(), "brA"); err != nil {
		t.Fatal(err)
	}
	if after := n.Run("nft", "list", "ruleset"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestNFTDropChainIsLoggedOnce(t *testing.T) {
	n := testns.New(t)
	n.Run("nft", "add table inet strict; add chain inet strict through { type filter hook forward priority 0; "+
		"policy drop; }")

	p, log := policy(t, n)
	for range 2 {
		if err := p.Allow(context.Background(), "brA"); err != nil {
			t.Fatal(err)
		}
	}

	if strings.Count(log.String(), "table=strict") != 1 {
		t.Errorf("log:\n%s", log)
	}
}
