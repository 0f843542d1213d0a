package publish_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

func fixed(hostIP string, host uint16) port.Mapping {
	return port.Mapping{Protocol: port.TCP, HostIP: address(hostIP), Host: port.Single(host),
		Container: port.Single(80)}
}

// snapshot returns the port sockets and the firewall's bindings.
func snapshot(k *kernel) []string {
	out := slices.Collect(maps.Keys(k.bound))
	for b := range k.elements {
		out = append(out, b.Subject()+" to "+b.Target().String())
	}
	slices.Sort(out)
	return out
}

func TestUpdateReleasesOnlyRemoved(t *testing.T) {
	ctx := context.Background()
	p, k, st := setUp(t)
	if _, err := p.Publish(ctx, asks(1, "web", []port.Mapping{fixed("", 8080), fixed("", 8081)})); err != nil {
		t.Fatal(err)
	}

	k.failHold["0.0.0.0:8080/tcp"] = errors.New("the unchanged port was bound again")
	cuts := k.cuts.Load()
	got, err := p.Update(ctx, asks(1, "web", []port.Mapping{fixed("", 8080), fixed("", 8082)}), false)
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}

	want := []string{"0.0.0.0:8080/tcp", "0.0.0.0:8082/tcp", "port 0.0.0.0:8080/tcp to 10.0.0.2:80",
		"port 0.0.0.0:8082/tcp to 10.0.0.2:80"}

	if d := cmp.Diff(want, snapshot(k)); d != "" {
		t.Error(d)
	}

	p.FinishDeletions()
	if n := k.cuts.Load() - cuts; n != 1 {
		t.Errorf("got %d deletions, want 1", n)
	}
	if _, err := p.Publish(ctx, asks(2, "other", []port.Mapping{fixed("", 8081)})); err != nil {
		t.Errorf("publish the released port: %v", err)
	}
	if _, err := p.Update(ctx, asks(1, "web", nil), false); err != nil {
		t.Fatal(err)
	}
	if err := p.Release(ctx, fmt.Sprintf("%064x", 2)); err != nil {
		t.Fatal(err)
	}

	nothing(t, k, st)
}

func TestDirectAccessLastsAsLongAsBindings(t *testing.T) {
	ctx := context.Background()
	p, k, st := setUp(t)
	st.DirectRouting = true
	got, err := p.Publish(ctx, asks(1, "web", []port.Mapping{fixed("", 8080), fixed("", 8081),
		fixed("127.0.0.1", 8082)}))

	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}

	const own = "port 10.0.0.2:80/tcp to 10.0.0.2:80"
	for i, step := range []struct {
		mappings []port.Mapping
		open     bool
		cuts     int32
	}{
		{[]port.Mapping{fixed("", 8081), fixed("127.0.0.1", 8082)}, true, 1},
		{[]port.Mapping{fixed("127.0.0.1", 8082)}, false, 2}, // the host port and the container port
		{[]port.Mapping{fixed("", 8081)}, true, 1},
	} {
		cuts := k.cuts.Load()
		got, err := p.Update(ctx, asks(1, "web", step.mappings), false)
		if err != nil || len(got) != len(step.mappings) {
			t.Fatalf("step %d: %v, %v", i, got, err)
		}
		if open := slices.Contains(snapshot(k), own); open != step.open || len(k.elements) != len(st.State().Bindings) {
			t.Errorf("step %d: got %v, store has %v", i, snapshot(k), st.State().Bindings)
		}
		p.FinishDeletions()
		if n := int32(k.cuts.Load() - cuts); n != step.cuts {
			t.Errorf("step %d: got %d deletions, want %d", i, n, step.cuts)
		}
	}

	if slices.Contains(slices.Collect(maps.Keys(k.bound)), "10.0.0.2:80/tcp") {
		t.Error("direct access bound a host port")
	}
	if err := p.Release(ctx, fmt.Sprintf("%064x", 1)); err != nil {
		t.Fatal(err)
	}

	nothing(t, k, st)
}

func TestUpdateErrorKeepsFormer(t *testing.T) {
	ctx := context.Background()
	for name, breaks := range map[string]func(k *kernel){
		"port of a process": func(k *kernel) { k.failHold["0.0.0.0:8083/tcp"] = syscall.EADDRINUSE },
		"firewall error": func(k *kernel) {
			k.failPublish, k.failRepair = errors.New("no"),
				errors.New("no")
		},
		"range with a port of a process": func(k *kernel) { k.listens = 1500 },
	} {
		t.Run(name, func(t *testing.T) {
			p, k, st := setUp(t)
			first := asks(1, "web", append(ports("10.1.0.9", 3000, 4000), fixed("", 8080), fixed("", 8081)))
			had, err := p.Publish(ctx, first)
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(k)
			breaks(k)
			_, err = p.Update(ctx, asks(1, "web", append(ports("", 1000, 2000), fixed("", 8080), fixed("", 8082),
				fixed("", 8083))), false)
			if err == nil {
				t.Fatal("got no error")
			}
			if d := cmp.Diff(before, snapshot(k)); d != "" {
				t.Error(d)
			}
			stored, _ := st.Publication(first.Owner)
			if stored == nil || !slices.Equal(stored.Bindings, had) {
				t.Errorf("got %+v stored, want the former bindings", stored)
			}
			k.failHold, k.failPublish, k.failRepair, k.listens = map[string]error{}, nil, nil, 0
			_, err = p.Publish(ctx, asks(2, "other", []port.Mapping{fixed("10.1.0.9", 3500)}))
			if tcp := fault.Is(err, fault.Busy); tcp {
				t.Errorf("TCP port within a UDP range: %v", err)
			}
			if _, err := p.Publish(ctx, asks(3, "third", []port.Mapping{fixed("", 8081)})); !fault.Is(err,
				fault.Busy) {
				t.Errorf("publish a port of the former publication: got %v, want busy", err)
			}
		})
	}
}

func TestUpdateNarrowsToOneAddress(t *testing.T) {
	ctx := context.Background()
	p, k, _ := setUp(t)
	if _, err := p.Publish(ctx, asks(1, "web", []port.Mapping{fixed("", 8080)})); err != nil {
		t.Fatal(err)
	}

	k.exclusive = true
	if _, err := p.Update(ctx, asks(1, "web", []port.Mapping{fixed("10.1.0.1", 8080)}), false); err != nil {
		t.Fatal(err)
	}

	want := []string{"10.1.0.1:8080/tcp", "port 10.1.0.1:8080/tcp to 10.0.0.2:80"}
	if d := cmp.Diff(want, snapshot(k)); d != "" {
		t.Error(d)
	}
}

func TestUpdateKeepsConnectionsOnMove(t *testing.T) {
	for keepOpen, want := range map[bool][]string{
		false: {"tcp 10.0.0.2:80", "udp 10.0.0.2:80", "stale udp 10.0.0.9:80"},
		true:  {"udp 10.0.0.2:80", "stale udp 10.0.0.9:80"},
	} {
		ctx := context.Background()
		p, k, _ := setUp(t)
		udp := fixed("10.1.0.1", 8080)
		udp.Protocol = port.UDP
		ask := asks(1, "web", []port.Mapping{fixed("10.1.0.1", 8080), udp})
		if _, err := p.Publish(ctx, ask); err != nil {
			t.Fatal(err)
		}
		renumbered := *ask
		renumbered.IPv4 = netip.MustParseAddr("10.0.0.9")
		// deletion for a new binding is delayed
		for until := time.Now().Add(60 * time.Second); len(k.takeDeleted()) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("no deletion for the new port")
			}
		}
		if _, err := p.Update(ctx, &renumbered, keepOpen); err != nil {
			t.Fatal(err)
		}
		p.FinishDeletions()
		var got []string
		for _, c := range k.takeDeleted() {
			text := string(c.Protocol) + " " + c.Target.String()
			if c.NotToTarget {
				text = "stale " + text
			}
			got = append(got, text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("deletions with keepOpen=%t:\n%s", keepOpen, d)
		}
	}
}
