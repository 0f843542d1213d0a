package natagent_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// unprotected is a host without table owner, with a running reconciler.
type unprotected struct {
	host     *testns.NS
	complete func() bool
	external func() reconcile.ExternalChanges
}

func keep(t testing.TB, open func(ns hostns.NS) (firewall.Firewall, error)) *unprotected {
	t.Helper()
	n := testns.New(t)
	ns := hostns.At(n.Fd())
	fw, err := open(ns)
	if err != nil {
		t.Fatal(err)
	}

	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	target := publication.Publication{Owner: owner("a"), IPv4: addr("10.10.1.2")}
	for n := range uint16(100) {
		target.Bindings = append(target.Bindings, port.Binding{Protocol: port.TCP,
			HostIP: addr("0.0.0.0"), Host: port.Single(8000 + n),
			ContainerIP: target.IPv4, Container: port.Single(80)})
	}

	if err := st.PutPublication(&target); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	rec := reconcile.New(st, fw, conntrack.New(ns), slog.New(slog.DiscardHandler))
	nothing := func(context.Context) error { return nil }
	go func() {
		done <- rec.Run(ctx, reconcile.DefaultPace(), reconcile.Hooks{Locked: nothing, Unlocked: nothing},
			func() { close(ready) })
	}()

	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_, _ = fw.Close(), st.Close()
	})

	select {
	case <-ready:
	case <-time.After(timeout):
		t.Fatal("not ready in time")
	}

	return &unprotected{host: n, external: rec.ExternalChanges, complete: func() bool {
		out := n.Run("sh", "-c", "nft list ruleset 2>/dev/null; iptables-nft-save -t nat; iptables-legacy-save -t nat")
		return strings.Contains(out, "8099") && (strings.Contains(out, "chain to_bridge") ||
			strings.Contains(out, "-A PREROUTING -m addrtype --dst-type LOCAL -j FAIRLEAD-DNAT"))
	}}
}

// loss is an external change that removes rules.
type loss struct {
	open    func(hostns.NS) (firewall.Firewall, error)
	flush   string
	culprit string // the expected modifier
}

// foreign returns the losses by backend.
func foreign() map[string]loss {
	ipt := func(flavour string) func(hostns.NS) (firewall.Firewall, error) {
		return func(ns hostns.NS) (firewall.Firewall, error) {
			f, err := iptables.Probe(context.Background(), ns, flavour)
			if err != nil {
				return nil, err
			}
			return iptables.Open(ns, nfevents.New(ns), f)
		}
	}

	return map[string]loss{
		"nftables without ownership": {func(ns hostns.NS) (firewall.Firewall,
			error) {
			return nftables.Open(ns, nfevents.New(ns), nftables.Features{})
		}, "nft flush ruleset", "nft (pid "},
		"iptables nft": {ipt(iptables.NFT), "nft flush ruleset", "nft (pid "},
		"iptables legacy": {ipt(iptables.Legacy), "iptables-legacy -F; iptables-legacy -t nat -F",
			"an unknown program"},
	}
}

// heal flushes the rules and returns the time until they were restored.
func (u *unprotected) heal(t testing.TB, flush string) time.Duration {
	t.Helper()
	u.host.Run("sh", "-ec", flush)
	start := time.Now()
	for !u.complete() {
		if time.Since(start) > timeout {
			t.Fatalf("not healed:\n%s", u.host.Run("sh", "-c", "nft list ruleset"))
		}
	}
	return time.Since(start)
}

func TestFlushedRulesAreRestored(t *testing.T) {
	for name, row := range foreign() {
		t.Run(name, func(t *testing.T) {
			// required of one attempt only, as the host may be busy
			const wanted = 200 * time.Millisecond
			u := keep(t, row.open)
			start := time.Now()
			u.complete()
			within := max(wanted, 5*time.Since(start)) // reading takes long on emulated machines
			best := u.heal(t, row.flush)
			for range 9 {
				if best <= within {
					break
				}
				best = min(best, u.heal(t, row.flush))
			}
			if t.Logf("restored in %v", best); best > within {
				t.Errorf("healed in %v at best", best)
			}
			m := u.external() // recorded shortly after the rules are restored
			for start := time.Now(); m.Times == 0 && time.Since(start) < timeout; m = u.external() {
				time.Sleep(time.Millisecond)
			}
			if late := within > wanted && m.Last.Name == ""; m.Times == 0 ||
				!strings.HasPrefix(m.Last.String(), row.culprit) && !late {
				t.Errorf("got %d changes, the last by %s; want it by %s", m.Times, m.Last, row.culprit)
			}
		})
	}
}

// BenchmarkHeal measures the time from an external flush until 100 published ports are restored.
func BenchmarkHeal(b *testing.B) {
	for name, row := range foreign() {
		b.Run(name, func(b *testing.B) {
			u := keep(b, row.open)
			var took []time.Duration
			for b.Loop() {
				took = append(took, u.heal(b, row.flush))
				time.Sleep(150 * time.Millisecond) // debounce interval
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-median")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms-max")
		})
	}
}
