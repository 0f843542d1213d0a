// Package firewalltest has the tests that each firewall backend must pass: real connections between
// network namespaces, with the addresses that the servers see. Only tests use it.
package firewalltest

import (
	"context"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Open returns a backend for a namespace. Run closes it.
type Open func(t testing.TB, ns hostns.NS) firewall.Firewall

// Run runs all tests for a backend.
func Run(t *testing.T, open Open) {
	tp := NewTopology(t)
	t.Run("without a firewall", func(t *testing.T) { checkUnfiltered(t, tp) })
	ctx := context.Background()
	fw := open(t, tp.HostNS())
	if _, err := fw.Sync(ctx, State()); err != nil {
		t.Fatal(err)
	}

	t.Run("with firewall", func(t *testing.T) { all(t, tp) })
	inClear(t, tp, true)

	if err := fw.Close(); err != nil {
		t.Fatal(err)
	}

	t.Run("after close", func(t *testing.T) { all(t, tp) })

	fw = open(t, tp.HostNS())
	defer func() { _ = fw.Close() }()
	compare(t, fw)
	restart(t, tp, fw)
	replaceTunnel(t, tp, fw)
	withdrawDirect(t, tp, fw)
	replace(t, tp, fw)
	withdraw(t, tp, fw)
	withdrawRanges(t, tp, fw)
}

// checkUnfiltered checks that connections to be blocked succeed without a firewall.
func checkUnfiltered(t *testing.T, tp *Topology) {
	var cases []Case
	for _, c := range Cases() {
		if c.Unfiltered != "" {
			c.Want = c.Unfiltered
			cases = append(cases, c)
		}
	}
	together(t, tp, cases)
	spoofs(t, tp, true)
	t.Run("tunnel", func(t *testing.T) { tunnels(t, tp, false) })
	inClear(t, tp, false)
}

func all(t *testing.T, tp *Topology) {
	together(t, tp, Cases())
	spoofs(t, tp, false)
	pings(t, tp)
	t.Run("tunnel", func(t *testing.T) { tunnels(t, tp, true) })
}

// together runs cases concurrently, as most of them wait for a timeout.
func together(t *testing.T, tp *Topology, cases []Case) {
	got := make([]string, len(cases))
	var wg sync.WaitGroup
	for i, c := range cases {
		wg.Go(func() { got[i] = tp.Try(c, timeoutFor(c.Want)) })
	}

	wg.Wait()
	for i, c := range cases {
		t.Run(c.Name(), func(t *testing.T) {
			if !met(c.Want, got[i]) {
				t.Errorf("got: %s", got[i])
			}
		})
	}
}

func check(t *testing.T, tp *Topology, c Case) {
	t.Helper()
	if got := tp.Try(c, timeoutFor(c.Want)); !met(c.Want, got) {
		t.Errorf("%s to %s %s: got %s, want %s", c.From, c.To, c.Network, got, c.Want)
	}
}

func spoofs(t *testing.T, tp *Topology, want bool) {
	for _, from := range []string{"ext", "rogue"} {
		t.Run("loopback source from "+from, func(t *testing.T) {
			got, err := tp.spoofed(from, tp.Host.ListenPacket("udp4", "10.1.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("got accepted %t, want %t", got, want)
			}
		})
	}
}

// compare checks that Compare finds differences and changes nothing.
func compare(t *testing.T, fw firewall.Firewall) {
	t.Run("compare", func(t *testing.T) {
		ctx := context.Background()
		for range 2 { // the first call must change nothing
			less := State()
			less.Bindings = less.Bindings[1:]
			change, err := fw.Compare(ctx, less)
			if err != nil || change.Rebuilt || change.Added != 0 || len(change.Removed) == 0 {
				t.Errorf("with one binding less: got %+v, %v", change, err)
			}
		}
		if change, err := fw.Compare(ctx, State()); err != nil || change.Rebuilt || change.Added != 0 ||
			len(change.Removed) != 0 {
			t.Errorf("without a difference: got %+v, %v", change, err)
		}
	})
}

// restart checks that a new backend takes over without changes or interrupted connections.
func restart(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("restart", func(t *testing.T) {
		stop, done := make(chan struct{}), make(chan string)
		go func() {
			for {
				select {
				case <-stop:
					done <- ""
					return
				default:
				}
				if got := tp.Try(Cases()[0], answerWithin); got != Cases()[0].Want {
					done <- got
					return
				}
			}
		}()
		change, err := fw.Sync(context.Background(), State())
		close(stop)
		if got := <-done; got != "" {
			t.Errorf("connection during restart: %s", got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if change.Rebuilt || change.Added != 0 || len(change.Removed) != 0 {
			t.Errorf("restart changed %+v, want nothing", change)
		}
	})
}

// replace checks that a network can be changed and removed.
func replace(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("network changed to internal", func(t *testing.T) {
		ctx, b := context.Background(), State().Networks[1]
		internal := b
		internal.Internal, internal.Masquerade = true, false
		if err := fw.ReplaceNetwork(ctx, &b, &internal); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "c", Network: "tcp", To: "10.1.0.2:80", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8100", Want: blocked})
		if err := fw.ReplaceNetwork(ctx, &internal, &b); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "c", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.1.0.1"})
		if err := fw.ReplaceNetwork(ctx, &b, nil); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "c", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.10.2.2"})
	})
}

// withdraw checks that a port can be removed, and be added with another target.
func withdraw(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("withdrawn port", func(t *testing.T) {
		ctx, all := context.Background(), bindings()
		if err := fw.RemoveBindings(ctx, all[:1]); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: refused})
		check(t, tp, Case{From: "ext", Network: "udp", To: "10.1.0.1:8080", Want: "a sees 10.1.0.2"})
		retargeted := all[0]
		retargeted.ContainerIP = State().Networks[0].Subnets[0].Addr().Next().Next().Next() // b
		if err := fw.AddBindings(ctx, []port.Binding{retargeted}); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
		if err := fw.AddBindings(ctx, all[:1]); err == nil {
			t.Error("got one port forwarded to two containers, want an error")
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
		if err := fw.ReplaceBindings(ctx, []port.Binding{retargeted}, all[:1]); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "a sees 10.1.0.2"})
		if err := fw.ReplaceBindings(ctx, all[:1], []port.Binding{retargeted}); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
	})
}

// withdrawRanges checks that ranges and published addresses can be removed and added again.
func withdrawRanges(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("withdrawn range and address", func(t *testing.T) {
		ctx := context.Background()
		if err := fw.RemoveBindings(ctx, ranges()); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "udp", To: "10.1.0.1:40000", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:81", Want: refused})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:8081", Want: "a sees 10.1.0.2"})
		check(t, tp, Case{From: "b", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.1.0.1"})
		if err := fw.AddBindings(ctx, ranges()); err != nil {
			t.Fatal(err)
		}
		together(t, tp, rangeCases())
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:80", Want: "b sees 10.1.0.2"})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:8081", Want: "a sees 10.1.0.2"})
		check(t, tp, Case{From: "b", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.1.0.7"})
		if change, err := fw.Sync(ctx, State()); err != nil || change.Rebuilt && len(change.Removed) > 1 {
			t.Errorf("first Sync changed %+v, %v", change, err)
		}
		if change, err := fw.Sync(ctx, State()); err != nil || change.Rebuilt || change.Added > 0 ||
			len(change.Removed) > 0 {
			t.Errorf("second Sync changed %+v, %v; want nothing", change, err)
		}
	})
}
