// Package firewalltest has the suite that every firewall backend must pass: real connections between real namespaces, with
// the addresses that the servers see. It is for the tests of backends only.
package firewalltest

import (
	"context"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Open makes a backend that works in a namespace. It is closed by the suite.
type Open func(t testing.TB, ns hostns.NS) firewall.Firewall

// Run runs the suite.
func Run(t *testing.T, open Open) {
	tp := NewTopology(t)
	t.Run("without a firewall", func(t *testing.T) { checkUnfiltered(t, tp) })
	ctx := context.Background()
	fw := open(t, tp.HostNS())
	if _, err := fw.Sync(ctx, State()); err != nil {
		t.Fatal(err)
	}
	t.Run("with it", func(t *testing.T) { all(t, tp) })

	if err := fw.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("after it has ended", func(t *testing.T) { all(t, tp) })

	fw = open(t, tp.HostNS())
	defer func() { _ = fw.Close() }()
	compare(t, fw)
	restart(t, tp, fw)
	withdrawDirect(t, tp, fw)
	replace(t, tp, fw)
	withdraw(t, tp, fw)
	withdrawWide(t, tp, fw)
}

// checkUnfiltered shows that what the firewall must block would get through without it.
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
}

func all(t *testing.T, tp *Topology) {
	together(t, tp, Cases())
	spoofs(t, tp, false)
	pings(t, tp)
}

// together tries cases at the same time, as most of the time goes into waiting for what must not come.
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
		t.Errorf("%s to %s %s: %s, want %s", c.From, c.To, c.Network, got, c.Want)
	}
}

func spoofs(t *testing.T, tp *Topology, want bool) {
	for _, from := range []string{"ext", "rogue"} {
		t.Run("a loopback source from "+from, func(t *testing.T) {
			got, err := tp.spoofed(from, tp.Host.ListenPacket("udp4", "10.1.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("the host takes it: %v, want %v", got, want)
			}
		})
	}
}

// compare checks that differences are found and left alone.
func compare(t *testing.T, fw firewall.Firewall) {
	t.Run("compared", func(t *testing.T) {
		ctx := context.Background()
		for range 2 { // the first one changes nothing
			less := State()
			less.Bindings = less.Bindings[1:]
			change, err := fw.Compare(ctx, less)
			if err != nil || change.Rebuilt || change.Added != 0 || len(change.Removed) == 0 {
				t.Errorf("with one binding less: got %+v, %v", change, err)
			}
		}
		if change, err := fw.Compare(ctx, State()); err != nil || change.Rebuilt || change.Added != 0 || len(change.Removed) != 0 {
			t.Errorf("without a difference: got %+v, %v", change, err)
		}
	})
}

// restart checks that a new backend takes over without touching anything, while connections go on.
func restart(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("taken over by a new one", func(t *testing.T) {
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
			t.Errorf("a connection meanwhile: %s", got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if change.Rebuilt || change.Added != 0 || len(change.Removed) != 0 {
			t.Errorf("taking over changed %+v", change)
		}
	})
}

// replace checks that networks can be changed and taken out by themselves.
func replace(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("a network that becomes internal", func(t *testing.T) {
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

// withdraw checks that a port is taken out by itself, and can be led elsewhere.
func withdraw(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("a port that is withdrawn", func(t *testing.T) {
		ctx, all := context.Background(), bindings()
		if err := fw.RemoveBindings(ctx, all[:1]); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: refused})
		check(t, tp, Case{From: "ext", Network: "udp", To: "10.1.0.1:8080", Want: "a sees 10.1.0.2"})
		moved := all[0]
		moved.ContainerIP = State().Networks[0].Subnets[0].Addr().Next().Next().Next() // b
		if err := fw.AddBindings(ctx, []publication.Binding{moved}); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
		if err := fw.AddBindings(ctx, all[:1]); err == nil {
			t.Error("one port was led to two containers")
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
		if err := fw.ReplaceBindings(ctx, []publication.Binding{moved}, all[:1]); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "a sees 10.1.0.2"})
		if err := fw.ReplaceBindings(ctx, all[:1], []publication.Binding{moved}); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.1:8080", Want: "b sees 10.1.0.2"})
	})
}

// withdrawWide checks that runs and addresses are taken out and put back by themselves, with nothing else touched.
func withdrawWide(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("a run and an address that are withdrawn", func(t *testing.T) {
		ctx := context.Background()
		if err := fw.RemoveBindings(ctx, wide()); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "udp", To: "10.1.0.1:40000", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:81", Want: refused})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:8081", Want: "a sees 10.1.0.2"})
		check(t, tp, Case{From: "b", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.1.0.1"})
		if err := fw.AddBindings(ctx, wide()); err != nil {
			t.Fatal(err)
		}
		together(t, tp, runs())
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:80", Want: "b sees 10.1.0.2"})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.1.0.7:8081", Want: "a sees 10.1.0.2"})
		check(t, tp, Case{From: "b", Network: "tcp", To: "10.1.0.2:80", Want: "ext sees 10.1.0.7"})
		if change, err := fw.Sync(ctx, State()); err != nil || change.Rebuilt && len(change.Removed) > 1 {
			t.Errorf("putting all back as it was: %+v, %v", change, err)
		}
		if change, err := fw.Sync(ctx, State()); err != nil || change.Rebuilt || change.Added > 0 || len(change.Removed) > 0 {
			t.Errorf("nothing was to be done: %+v, %v", change, err)
		}
	})
}
