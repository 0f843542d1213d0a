package sandbox_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// TestAddressAllocationsAreUnique runs random supervisor requests on networks that are often
// exhausted, and ends the agent at any step. After each operation no two owners have the same
// address, all promised addresses are kept, and the allocator, rebuilt from the store at each
// start, agrees with the store.
func TestAddressAllocationsAreUnique(t *testing.T) {
	root := roots(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(root, rt)
		defer w.end()
		rt.Repeat(map[string]func(*rapid.T){
			"create":     w.create,
			"create one": w.create, // more frequent than the other operations, which need sandboxes
			"create two": w.create,
			"stop":       func(t *rapid.T) { w.release(t, endpoint.ReleaseKeep{Addresses: true}) },
			"restart":    func(t *rapid.T) { w.release(t, endpoint.ReleaseKeep{Addresses: true, Namespace: true}) },
			"remove":     func(t *rapid.T) { w.release(t, endpoint.ReleaseKeep{}) },
			"reserve":    w.reserve,
			"connect":    w.connect,
			"disconnect": w.disconnect,
			"grow":       w.grow,
			"crash":      func(*rapid.T) { w.crash() },
			"crash soon": func(t *rapid.T) { w.dieAt = rapid.IntRange(1, 6).Draw(t, "step") },
			"fail soon":  func(t *rapid.T) { w.failAt = rapid.IntRange(1, 4).Draw(t, "step") },
			"":           w.check,
		})
	})
}

// spec draws an endpoint spec with or without a static address.
func (w *world) spec(t *rapid.T, n string) endpoint.Spec {
	spec := endpoint.Spec{Network: n}
	if rapid.IntRange(0, 2).Draw(t, "static") == 0 {
		spec.IPv4 = netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 8).Draw(t, "address"))})
	}
	return spec
}

func (w *world) specs(t *rapid.T) []endpoint.Spec {
	var specs []endpoint.Spec
	for _, n := range rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "a"}}).Draw(t, "networks") {
		specs = append(specs, w.spec(t, n))
	}
	return specs
}

func (w *world) create(t *rapid.T) {
	owner, specs := w.owner(t), w.specs(t)
	if rapid.Bool().Draw(t, "reserved before") { // as the supervisor does
		w.reserveFor(owner, specs)
	}

	before := w.state()
	had, _ := w.store.Sandbox(owner)
	var sb endpoint.Sandbox
	w.do(owner, func() (err error) {
		sb, err = w.manager.Create(w.ctx, endpoint.Request{Owner: owner, Mode: endpoint.Private, Endpoints: specs})
		return err
	}, func() {
		w.promise(owner, sb)
		if len(had.Endpoints) == 0 {
			w.checkPick(t, sb, before)
		}
	})
}

func (w *world) release(t *rapid.T, keep endpoint.ReleaseKeep) {
	owner := w.owner(t)
	w.do(owner, func() error { return w.manager.Release(w.ctx, owner, keep) }, func() {
		delete(w.promised, owner)
		if !keep.Addresses {
			delete(w.reserved, owner)
		}
	})
}

func (w *world) reserve(t *rapid.T) { w.reserveFor(w.owner(t), w.specs(t)) }

func (w *world) reserveFor(owner string, specs []endpoint.Spec) {
	w.do(owner, func() error { return w.manager.Reserve(w.ctx, owner, specs) }, func() {
		w.reserved[owner] = nil
		for _, s := range specs {
			if s.IPv4.IsValid() {
				w.reserved[owner] = append(w.reserved[owner], claim{w.ids[s.Network], s.IPv4})
			}
		}
	})
}

func (w *world) connect(t *rapid.T) {
	owner, spec := w.connected(t), w.spec(t, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "network"))
	var sb endpoint.Sandbox
	w.do(owner, func() (err error) {
		sb, err = w.manager.Connect(w.ctx, owner, spec)
		return err
	}, func() { w.promise(owner, sb) })
}

func (w *world) disconnect(t *rapid.T) {
	owner, n := w.connected(t), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "network")
	var sb endpoint.Sandbox
	w.do(owner, func() (err error) {
		sb, err = w.manager.Disconnect(w.ctx, owner, n)
		return err
	}, func() {
		w.promise(owner, sb)
		w.reserved[owner] = slices.DeleteFunc(w.reserved[owner], func(c claim) bool { return c.network == w.ids[n] })
	})
}

// grow doubles a network, as a user does.
func (w *world) grow(t *rapid.T) {
	n, _ := w.store.NetworkNamed(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "network"))
	if n.Spec.Pools[0].Subnet.Bits() <= 28 {
		t.Skip("large enough")
	}
	w.double(n)
}

// growth extends the networks of a world.
type growth struct{ *world }

// More doubles a network with an exhausted pool if it has the smallest size.
func (w growth) More(_ context.Context, short network.PoolShortage) error {
	n, _ := w.store.Network(short.NetworkID)
	if n.Spec.Pools[0].Subnet != short.Subnet || n.Spec.Pools[0].Subnet.Bits() < 30 {
		return fault.New(fault.Exhausted, n.Subject(), "is large enough")
	}
	w.double(n)
	return nil
}

func (w *world) double(n store.Network) {
	subnet := n.Spec.Pools[0].Subnet
	n.Spec.Pools = slices.Clone(n.Spec.Pools)
	n.Spec.Pools[0].Subnet = netip.PrefixFrom(subnet.Addr(), subnet.Bits()-1)
	if err := w.store.PutNetworks(n); err != nil {
		w.t.Fatal(err)
	}
	if err := w.attach.UpdateEndpoints(n.Network); err != nil {
		w.t.Fatal(err)
	}
}

// check compares the addresses of all owners.
func (w *world) check(*rapid.T) {
	owners := map[claim]string{}
	note := func(c claim, owner, how string) {
		if other, taken := owners[c]; taken && other != owner {
			w.t.Fatalf("%s is %s of %s and of %s", c.address, how, owner[:1], other[:1])
		}
		n, _ := w.store.Network(c.network)
		if !n.Addresses(n.Spec.Pools[0]).Usable(c.address) {
			w.t.Fatalf("%s is %s of %s, but not usable", c.address, how, owner[:1])
		}
		owners[c] = owner
	}

	for _, sb := range w.store.Sandboxes() {
		for _, c := range claims(sb) {
			note(c, sb.Owner, "an address")
		}
	}

	for _, r := range w.store.Reservations() {
		for _, a := range r.Addresses {
			note(claim{a.NetworkID, a.Address}, r.Owner, "reserved")
		}
	}

	for owner, promised := range w.promised {
		if have, _ := w.store.Sandbox(owner); !slices.Equal(claims(have), promised) {
			w.t.Fatalf("owner %s: got %v, want %v", owner[:1], claims(have), promised)
		}
	}

	for owner, promised := range w.reserved {
		for _, c := range promised {
			if !w.store.Reservation(owner).Has(c.network, c.address) {
				w.t.Fatalf("%s is not reserved for %s any more", c.address, owner[:1])
			}
		}
	}

	w.checkBook(owners)
}

// checkBook compares the allocator with the store. An address without an owner would be lost until
// the next start.
func (w *world) checkBook(owners map[claim]string) {
	taken := map[string]uint64{}
	for c := range owners {
		taken[c.network]++
	}
	for _, n := range w.store.Networks() {
		const kept = 3 // the subnet's first and last address, and the gateway
		if got := w.book.Count(n.ID, n.Addresses(n.Spec.Pools[0])).Used; got != taken[n.ID]+kept {
			w.t.Fatalf("network %s: allocator has %d addresses, store has %d", n.Name, got-kept, taken[n.ID])
		}
	}
}

// checkPick checks that a dynamic address is the former one if that is free and no other owner had
// it.
func (w *world) checkPick(t *rapid.T, sb endpoint.Sandbox, before state) {
	for _, e := range sb.Endpoints {
		last, ok := before.last[sb.Owner][e.NetworkID]
		free := before.owners[last] == "" && before.remember[last] == 1
		if ok && free && !e.Spec.IPv4.IsValid() && e.IPv4.Addr() != last.address {
			t.Fatalf("owner %s: got %s, want the former address %s", sb.Owner[:1], e.IPv4, last)
		}
	}
}

// state holds current and former owners of addresses.
type state struct {
	owners   map[claim]string
	last     map[string]map[string]claim // owner -> network -> last address
	remember map[claim]int               // number of owners
}

func (w *world) state() state {
	s := state{map[claim]string{}, map[string]map[string]claim{}, map[claim]int{}}
	for _, sb := range w.store.Sandboxes() {
		for _, c := range claims(sb) {
			s.owners[c] = sb.Owner
		}
	}

	for _, r := range w.store.Reservations() {
		for _, a := range r.Addresses {
			s.owners[claim{a.NetworkID, a.Address}] = r.Owner
		}
		s.last[r.Owner] = map[string]claim{}
		for _, a := range r.Affinity {
			s.last[r.Owner][a.NetworkID] = claim{a.NetworkID, a.Address}
			s.remember[claim{a.NetworkID, a.Address}]++
		}
	}

	return s
}

// expected reports whether an error is normal for these requests.
func expected(err error) bool {
	for _, kind := range []fault.Kind{fault.Exists, fault.Exhausted, fault.Invalid, fault.NotFound, fault.Busy} {
		if fault.Is(err, kind) {
			return true
		}
	}
	return false
}

// claim is an address of an owner on a network.
type claim struct {
	network string
	address netip.Addr
}

func (c claim) String() string { return fmt.Sprintf("%s on %.1s", c.address, c.network) }

func claims(sb endpoint.Sandbox) []claim {
	var out []claim
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			out = append(out, claim{e.NetworkID, p.Addr()})
		}
	}
	return out
}
