package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// bury has the driver delete at once what it would delete later.
func (b *bench) bury() {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	b.driver.Bury(ctx, func(err error) { b.Error(err) })
}

// in hands a sandbox's namespace to f.
func (b *bench) in(sb network.Sandbox, f func(*kernel.Namespace) error) {
	b.Helper()
	if err := kernel.WithPinned(sb.NetnsPath, f); err != nil {
		b.Error(err)
	}
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
		b.Errorf("its kernel parameter is %s", out)
	}
	if changes, created, err := b.driver.Ensure(b.Network, true); err != nil || created || len(changes) > 0 {
		b.Errorf("asked again it changes %v, made %v, %v", changes, created, err)
	}
}

func (b *bench) move() {
	peer, old := b.container(10), b.container(11)
	b.reaches(peer, addresses(old)...)
	b.unplug(old) // and a process still holds its namespace
	moved := b.container(11)
	b.reaches(peer, addresses(moved)...)
	b.reaches(moved, append(addresses(peer), b.Others...)...)
	b.inside(moved, "ip", "link", "set", "eth0", "down")
	if err := probeTCP(peer, addresses(moved)[0], time.Second); err == nil || errors.Is(err, unix.ECONNREFUSED) {
		b.Errorf("the old container answers for its address: %v", err)
	}
}

func (b *bench) remove() {
	peer := b.container(10)
	before := b.state()
	sb := b.container(11)
	for range 2 { // asked again, it does no harm
		if err := b.driver.Remove(b.Network, sb, sb.Endpoints[0]); err != nil {
			b.Error(err)
		}
	}
	if out := b.inside(sb, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("the interface is left: %s", out)
	}
	b.asBefore(before)
	e := b.endpoint(12)
	b.in(sb, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, sb.Owner, e) })
	sb.Endpoints = []network.Endpoint{e}
	b.reaches(sb, addresses(peer)...)
}

func (b *bench) refit() {
	peer, sb := b.container(10), b.container(11)
	for _, mtu := range []int{1400, 1450} {
		b.Network.MTU = mtu
		b.networks = []network.Network{b.Network}
		if _, _, err := b.driver.Ensure(b.Network, true); err != nil {
			b.Error(err)
		}
		for _, s := range []network.Sandbox{peer, sb} {
			b.in(s, func(ns *kernel.Namespace) error { return b.driver.Refit(ns, b.Network, s.Endpoints[0]) })
		}
		for _, s := range []network.Sandbox{peer, sb, b.container(mtu / 10)} {
			if out := b.inside(s, "ip", "link", "show", "eth0"); !strings.Contains(out, fmt.Sprintf("mtu %d ", mtu)) {
				b.Errorf("not mtu %d: %s", mtu, out)
			}
		}
	}
	b.reaches(sb, addresses(peer)...)
}

// grow: subnets are larger, and addresses are longer in them. Routes and permanent neighbours stay.
func (b *bench) grow() {
	peer, sb := b.container(10), b.container(11)
	ways := func(s network.Sandbox) string {
		return b.inside(s, "sh", "-c", "ip route show default; ip -6 route show default; ip neigh show nud permanent | sort")
	}
	for _, s := range []network.Sandbox{peer, sb} {
		b.inside(s, "ip", "addr", "del", s.Endpoints[0].LinkLocals()[0].String(), "dev", "eth0") // so that it has one address of each family only
		before, e := ways(s), s.Endpoints[0]
		e.IPv4, e.IPv6 = netip.PrefixFrom(e.IPv4.Addr(), e.IPv4.Bits()-4), netip.PrefixFrom(e.IPv6.Addr(), e.IPv6.Bits()-4)
		for range 2 { // asked again, it does no harm
			b.in(s, func(ns *kernel.Namespace) error { return b.driver.Refit(ns, b.Network, e) })
		}
		var have []string
		for line := range strings.Lines(b.inside(s, "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global")) {
			have = append(have, strings.Fields(line)[3])
		}
		if want := []string{e.IPv4.String(), e.IPv6.String()}; !slices.Equal(have, want) {
			b.Errorf("has %v, want %v", have, want)
		}
		if now := ways(s); now != before {
			b.Errorf("its ways were\n%s\nand are\n%s", before, now)
		}
	}
	b.reaches(sb, append(addresses(peer), b.Others...)...)
	b.reaches(peer, addresses(sb)...)
}

// renew: an endpoint gets another address, beside the one that it has at first.
func (b *bench) renew() {
	peer, sb := b.container(10), b.container(11)
	old, next := sb.Endpoints[0], b.endpoint(12)
	next.ID, next.HostInterface, next.Former = old.ID, old.HostInterface, old.Addresses()
	for _, e := range []network.Endpoint{next, next, old, next} { // asked again, and back
		gone := old.Addresses()
		if e.Former == nil {
			gone = next.Addresses()
		} else {
			gone = nil
		}
		b.in(sb, func(ns *kernel.Namespace) error { return b.driver.Renew(ns, b.Network, e, gone) })
		b.reaches(peer, append(addresses(network.Sandbox{Endpoints: []network.Endpoint{e}}), addresses(sb)...)...)
	}
	next.Former = nil
	b.in(sb, func(ns *kernel.Namespace) error { return b.driver.Renew(ns, b.Network, next, old.Addresses()) })
	sb.Endpoints = []network.Endpoint{next}
	b.sandboxes = []network.Sandbox{peer, sb}
	b.reaches(peer, addresses(sb)...)
	b.reaches(sb, append(addresses(peer), b.Others...)...)
	if out := b.inside(sb, "ip", "addr"); strings.Contains(out, old.Addresses()[0].String()) {
		b.Errorf("the old address is left: %s", out)
	}
	before := b.state()
	if changes := b.begin(); len(changes) > 0 {
		b.Errorf("the next start changes %v", changes)
	}
	if now := b.state(); now != before {
		b.Errorf("after the start there is\n%s\nand was\n%s", now, before)
	}
}

func (b *bench) restart() {
	one, two := b.container(10), b.container(11)
	before := b.state()
	if changes := b.begin(); len(changes) > 0 {
		b.Errorf("the start changes %v", changes)
	}
	if now := b.state(); now != before {
		b.Errorf("after the start there is\n%s\nand was\n%s", now, before)
	}
	b.reaches(one, append(addresses(two), b.Others...)...)
	b.unplug(two)
	b.reaches(one, b.Others...)
}

// crashInAttach: the process was killed after it had made what it had not remembered yet.
func (b *bench) crashInAttach() {
	before := b.state()
	lost := b.sandbox(b.endpoint(10))
	if err := kernel.Unpin(lost.NetnsPath); err != nil { // what is pinned and not remembered is unpinned by package sandbox
		b.Fatal(err)
	}
	b.begin()
	b.asBefore(before)

	runs := b.sandbox() // a container that was to be connected
	b.sandboxes = append(b.sandboxes, runs)
	e := b.endpoint(11)
	b.in(runs, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, runs.Owner, e) })
	b.begin()
	b.asBefore(before)
	if out := b.inside(runs, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("in the container is left: %s", out)
	}
	b.in(runs, func(ns *kernel.Namespace) error { return b.driver.Attach(ns, b.Network, runs.Owner, e) })
}

// crashInRemove: the process was killed after it had forgotten what it had not removed yet.
func (b *bench) crashInRemove() {
	before := b.state()
	sb, peer := b.container(10), b.container(11)
	ended := b.container(12)
	b.forget(ended)
	if err := kernel.Unpin(ended.NetnsPath); err != nil {
		b.Fatal(err)
	}
	b.sandboxes[0].Endpoints = nil // disconnected, and its container runs on
	b.begin()
	if out := b.inside(sb, "ip", "-o", "link"); strings.Contains(out, "eth0") {
		b.Errorf("in the container is left: %s", out)
	}
	moved := b.container(10)
	b.reaches(peer, addresses(moved)...)
	b.unplug(peer)
	b.unplug(moved)
	b.asBefore(before)
}

func (b *bench) fail() {
	before := b.state()
	e := b.endpoint(10)
	err := kernel.NewNamespace(func(ns *kernel.Namespace) error {
		if err := b.driver.Attach(ns, b.Network, "0123456789abcdef", e); err != nil {
			return err
		}
		again := b.endpoint(11) // under the name that is taken
		return b.driver.Attach(ns, b.Network, "0123456789abcdef", again)
	})
	if err == nil {
		b.Error("two interfaces have one name")
	}
	if err := b.driver.Detach(b.Network, network.Sandbox{Owner: "0123456789abcdef"}, e); err != nil {
		b.Error(err)
	}
	b.asBefore(before)
}

func (b *bench) delete() {
	sb := b.container(10)
	b.unplug(sb)
	b.networks = nil
	for range 2 {
		if err := b.driver.Delete(b.Network); err != nil {
			b.Error(err)
		}
	}
	b.asBefore(b.before)
}
