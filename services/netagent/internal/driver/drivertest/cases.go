package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// runLinkGC deletes all detached links immediately.
func (b *bench) runLinkGC() {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	b.driver.RunLinkGC(ctx, func(err error) { b.Error(err) })
}

// in calls f with the namespace of a sandbox.
func (b *bench) in(sb endpoint.Sandbox, f func(*kernel.Namespace) error) {
	b.Helper()
	if err := kernel.WithPinned(sb.NetnsPath, f); err != nil {
		b.Error(err)
	}
}

// apply applies an endpoint of a sandbox and returns the changes.
func (b *bench) apply(sb endpoint.Sandbox, e endpoint.Endpoint, gone ...netip.Prefix) (changes []string) {
	b.Helper()
	b.in(sb, func(ns *kernel.Namespace) (err error) {
		changes, err = b.driver.Apply(ns, b.Network, sb.Owner, e, gone)
		return err
	})
	return changes
}

func (b *bench) attach() {
	one, two := b.container(10), b.container(11)
	b.reaches(one, append(addresses(two), b.Others...)...)
	b.reaches(two, append(addresses(one), b.Others...)...)
	e := one.Endpoints[0]
	shown := b.inside(one, "ip", "addr", "show", "eth0")
	for _, want := range []string{e.MAC.String(), e.IPv4.String(), e.IPv6.String(), e.LinkLocals()[0].String()} {
		if !strings.Contains(shown, want) {
			b.Errorf("no %s in:\n%s", want, shown)
		}
	}

	if out := b.inside(one, "sysctl", "-n", "net.ipv4.conf.eth0.log_martians"); strings.TrimSpace(out) != "1" {
		b.Errorf("got sysctl %s", out)
	}

	if changes, created, err := b.driver.EnsureNetwork(b.Network, true); err != nil || created || len(changes) > 0 {
		b.Errorf("second EnsureNetwork: got changes %v, created %v, %v", changes, created, err)
	}
}

func (b *bench) move() {
	peer, old := b.container(10), b.container(11)
	b.reaches(peer, addresses(old)...)
	b.detach(old) // while a process keeps its namespace
	moved := b.container(11)
	b.reaches(peer, addresses(moved)...)
	b.reaches(moved, append(addresses(peer), b.Others...)...)
	b.inside(moved, "ip", "link", "set", "eth0", "down")
	if err := probeTCP(peer, addresses(moved)[0], time.Second); err == nil || errors.Is(err, unix.ECONNREFUSED) {
		b.Errorf("the old container still has the address: %v", err)
	}
}

func (b *bench) remove() {
	peer := b.container(10)
	before := b.state()
	sb := b.container(11)
	for range 2 { // idempotent
		if err := b.driver.Remove(b.Network, sb, sb.Endpoints[0]); err != nil {
			b.Error(err)
		}
	}

	if out := b.inside(sb, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("interface remains: %s", out)
	}

	b.asBefore(before)
	e := b.endpoint(12)
	b.in(sb, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, sb.Owner, e) })
	sb.Endpoints = []endpoint.Endpoint{e}
	b.reaches(sb, addresses(peer)...)
}

func (b *bench) refit() {
	peer, sb := b.container(10), b.container(11)
	b.Network.Origin = network.OriginUser // endpoints of predefined networks keep their MTU
	for _, mtu := range []int{1400, 1450} {
		b.Network.Spec.MTU, b.Network.Status = mtu, b.Network.Status.Changed()
		b.networks = []network.Network{b.Network}
		if _, _, err := b.driver.EnsureNetwork(b.Network, true); err != nil {
			b.Error(err)
		}
		for _, s := range []endpoint.Sandbox{peer, sb} {
			b.apply(s, s.Endpoints[0])
		}
		for _, s := range []endpoint.Sandbox{peer, sb, b.container(mtu / 10)} {
			if out := b.inside(s, "ip", "link", "show", "eth0"); !strings.Contains(out, fmt.Sprintf("mtu %d ", mtu)) {
				b.Errorf("not mtu %d: %s", mtu, out)
			}
		}
	}

	b.reaches(sb, addresses(peer)...)
}

// grow enlarges the subnets, and with them prefix lengths. Routes and permanent neighbour entries
// stay.
func (b *bench) grow() {
	peer, sb := b.container(10), b.container(11)
	routes := func(s endpoint.Sandbox) string {
		return b.inside(s, "sh", "-c",
			"ip route show default; ip -6 route show default; ip neigh show nud permanent | sort")
	}
	for _, s := range []endpoint.Sandbox{peer, sb} {
		// leaves one address of each family
		b.inside(s, "ip", "addr", "del", s.Endpoints[0].LinkLocals()[0].String(), "dev", "eth0")
		before, e := routes(s), s.Endpoints[0]
		e.Spec.LinkLocal = nil
		e.IPv4, e.IPv6 = netip.PrefixFrom(e.IPv4.Addr(), e.IPv4.Bits()-4), netip.PrefixFrom(e.IPv6.Addr(),
			e.IPv6.Bits()-4)
		for range 2 { // idempotent
			b.apply(s, e)
		}
		var have []string
		for line := range strings.Lines(b.inside(s, "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global")) {
			have = append(have, strings.Fields(line)[3])
		}
		if want := []string{e.IPv4.String(), e.IPv6.String()}; !slices.Equal(have, want) {
			b.Errorf("got addresses %v, want %v", have, want)
		}
		if now := routes(s); now != before {
			b.Errorf("got routes\n%[2]s\nwant\n%[1]s", before, now)
		}
	}

	b.reaches(sb, append(addresses(peer), b.Others...)...)
	b.reaches(peer, addresses(sb)...)
}

// renew replaces the address of an endpoint. Both addresses are valid at first.
func (b *bench) renew() {
	peer, sb := b.container(10), b.container(11)
	old, next := sb.Endpoints[0], b.endpoint(12)
	next.ID, next.HostInterface, next.Former = old.ID, old.HostInterface, old.Addresses()
	for _, e := range []endpoint.Endpoint{next, next, old, next} { // repeated, and back to the former one
		var gone []netip.Prefix // the addresses that the endpoint had and has not any more
		if e.Former == nil {
			gone = next.Addresses()
		}
		b.apply(sb, e, gone...)
		b.reaches(peer, append(addresses(endpoint.Sandbox{Endpoints: []endpoint.Endpoint{e}}), addresses(sb)...)...)
	}

	next.Former = nil
	b.apply(sb, next, old.Addresses()...)
	sb.Endpoints = []endpoint.Endpoint{next}
	b.sandboxes = []endpoint.Sandbox{peer, sb}
	b.reaches(peer, addresses(sb)...)
	b.reaches(sb, append(addresses(peer), b.Others...)...)
	if out := b.inside(sb, "ip", "addr"); strings.Contains(out, old.Addresses()[0].String()) {
		b.Errorf("former address remains: %s", out)
	}

	before := b.state()
	if changes := b.begin(); len(changes) > 0 {
		b.Errorf("next start made changes: %v", changes)
	}

	if now := b.state(); now != before {
		b.Errorf("after the start: got\n%s\nwant\n%s", now, before)
	}
}

// damage makes each external change of one endpoint. Apply restores it, and writes nothing again.
func (b *bench) damage() {
	peer, sb := b.container(10), b.container(11)
	b.differ()
	for _, change := range []string{"ip link set eth0 down", "ip addr flush dev eth0", "ip route del default",
		"ip -6 route flush dev eth0 proto kernel", "ip link del eth0"} {
		b.inside(sb, "sh", "-c", change)
		if change == "ip link del eth0" {
			b.differ(sb.Owner)
		}
		if changes := b.apply(sb, sb.Endpoints[0]); len(changes) == 0 {
			b.Errorf("%s: nothing was changed", change)
		}
		b.reaches(sb, append(addresses(peer), b.Others...)...)
		if changes := b.apply(sb, sb.Endpoints[0]); len(changes) > 0 {
			b.Errorf("%s: second apply made changes %v", change, changes)
		}
		b.differ()
	}
}

// differ fails the test unless the endpoints of these owners differ from the host, and no others.
func (b *bench) differ(owners ...string) {
	b.Helper()
	found, err := b.driver.Compare(b.Network, b.sandboxes)
	if got := slices.Sorted(maps.Keys(found)); err != nil || !slices.Equal(got, owners) {
		b.Errorf("got differences %v, %v, want those of %v", found, err, owners)
	}
}

func (b *bench) restart() {
	one, two := b.container(10), b.container(11)
	before := b.state()
	if changes := b.begin(); len(changes) > 0 {
		b.Errorf("start made changes: %v", changes)
	}
	if now := b.state(); now != before {
		b.Errorf("after the start: got\n%s\nwant\n%s", now, before)
	}
	b.reaches(one, append(addresses(two), b.Others...)...)
	b.detach(two)
	b.reaches(one, b.Others...)
}

// crashInAttach simulates a crash after an endpoint was created and before it was stored.
func (b *bench) crashInAttach() {
	before := b.state()
	lost := b.sandbox(b.endpoint(10))
	// package sandbox unpins namespaces that are pinned and not stored
	if err := kernel.Unpin(lost.NetnsPath); err != nil {
		b.Fatal(err)
	}

	b.begin()
	b.asBefore(before)

	runs := b.sandbox() // a running container that was to be connected
	b.sandboxes = append(b.sandboxes, runs)
	e := b.endpoint(11)
	b.in(runs, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, runs.Owner, e) })
	b.begin()
	b.asBefore(before)
	if out := b.inside(runs, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("interface remains in the container: %s", out)
	}

	b.in(runs, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, runs.Owner, e) })
}

// crashInRemove simulates a crash between the removal of an endpoint from the store and from the
// host.
func (b *bench) crashInRemove() {
	before := b.state()
	sb, peer := b.container(10), b.container(11)
	ended := b.container(12)
	b.forget(ended)
	if err := kernel.Unpin(ended.NetnsPath); err != nil {
		b.Fatal(err)
	}

	b.sandboxes[0].Endpoints = nil // disconnected, and the container keeps running
	b.begin()
	if out := b.inside(sb, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("interface remains in the container: %s", out)
	}

	moved := b.container(10)
	b.reaches(peer, addresses(moved)...)
	b.detach(peer)
	b.detach(moved)
	b.asBefore(before)
}

func (b *bench) fail() {
	before := b.state()
	e := b.endpoint(10)
	err := kernel.NewNamespace(func(ns *kernel.Namespace) error {
		if err := b.driver.Attach(ns, b.Network, "0123456789abcdef", e); err != nil {
			return err
		}
		again := b.endpoint(11) // with an interface name that is in use
		return b.driver.Attach(ns, b.Network, "0123456789abcdef", again)
	})
	if err == nil {
		b.Error("two interfaces have one name")
	}

	if err := b.driver.Detach(b.Network, endpoint.Sandbox{Owner: "0123456789abcdef"}, e); err != nil {
		b.Error(err)
	}

	b.asBefore(before)
}

func (b *bench) delete() {
	sb := b.container(10)
	b.detach(sb)
	b.networks = nil
	for range 2 {
		if err := b.driver.DeleteNetwork(b.Network); err != nil {
			b.Error(err)
		}
	}
	b.asBefore(b.before)
}
