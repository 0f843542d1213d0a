package ledger

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

const subnetA = "10.1.0.0/24"

func TestClaimsAreDisjoint(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	var all []netip.Prefix
	for range 16 {
		all = append(all, w.must(a, netA, subnetA, ""), w.must(b, netA, subnetA, ""))
	}
	for i, p := range all {
		if p.Bits() != 29 || slices.ContainsFunc(all[:i], p.Overlaps) {
			t.Errorf("block %s: bad length or claimed twice", p)
		}
	}
}

func TestClaimConflictRetried(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	first := w.must(a, netA, subnetA, "")
	delete(w.values, w.Keys.Block(netA, first))
	w.rival = func() { w.must(b, netA, subnetA, first.String()) } // the one that a chooses
	if got := w.must(a, netA, subnetA, ""); got.Overlaps(first) {
		t.Errorf("got %s of another host", got)
	}

	w.rival = func() { w.set(w.Keys.Epoch("a"), nil) }
	_, err := w.claim(a, netA, subnetA, "")
	expectFault(t, err, fault.Denied, "registered again")
	delete(w.values, w.Keys.Host("b"))
	_, err = w.claim(b, netA, subnetA, "")
	expectFault(t, err, fault.Denied, "not part of the fleet")
}

func TestExhaustionNamesOwners(t *testing.T) {
	w := newWorld(t)
	n := network(netA, "app", "10.1.0.0/27", "fd00::/64") // 32 blocks of one address
	if _, err := w.CreateNetwork(t.Context(), n, false); err != nil {
		t.Fatal(err)
	}
	a, b := w.host("a"), w.host("b")
	w.must(a, netA, "fd00::/64", "")
	for range 20 {
		w.must(a, netA, "10.1.0.0/27", "")
	}
	_, err := w.claim(a, netA, "10.1.0.0/27", "")
	expectFault(t, err, fault.Exhausted, "this host has 20 blocks of it, and may have 20")

	var last netip.Prefix
	for range 9 { // without the network, the gateway and the broadcast address
		last = w.must(b, netA, "10.1.0.0/27", "")
	}
	if err := w.Give(t.Context(), b, netA, last, ""); err != nil {
		t.Error(err)
	}
	delete(w.values, w.Keys.Presence("a"))
	w.set(w.Keys.Quarantine(netA, netip.MustParsePrefix("fd00::40/122")), nil)
	_, err = w.claim(b, netA, "10.1.0.0/27", "")
	expectFault(t, err, fault.Exhausted,
		"has no free block: 28 belong to host-a (20, lost), host-b (8), and 1 were released less than 10m0s ago")
}

func TestClaimWithinRange(t *testing.T) {
	w := newWorld(t)
	n := network(netA, "app", "10.1.0.0/16")
	n.Pools[0].IpRange = "10.1.9.0/24"
	if _, err := w.CreateNetwork(t.Context(), n, false); err != nil {
		t.Fatal(err)
	}
	a := w.host("a")
	for range 3 {
		if got := w.must(a, netA, "10.1.0.0/16", ""); !netip.MustParsePrefix("10.1.9.0/24").Overlaps(got) {
			t.Errorf("got %s", got)
		}
	}
}

func TestClaimOfExactPrefix(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	w.must(a, netA, subnetA, "10.1.0.8/29")
	if got := w.must(a, netA, subnetA, "10.1.0.9/32"); got.String() != "10.1.0.8/29" {
		t.Errorf("address of an own block: got %s", got)
	}
	_, err := w.claim(b, netA, subnetA, "10.1.0.9/32")
	expectFault(t, err, fault.Exists, "address 10.1.0.9: belongs to block 10.1.0.8/29 of host host-a")
	for _, bad := range []string{"10.2.0.1/32", "10.1.0.0/28", "10.1.0.9/29"} {
		_, err := w.claim(b, netA, subnetA, bad)
		expectFault(t, err, fault.Invalid, "is not a part of 10.1.0.0/24 with at least 29 bits")
	}
	_, err = w.claim(b, netA, "10.9.0.0/24", "")
	expectFault(t, err, fault.Invalid, "is not a subnet of the network")

	w.set(w.Keys.Block(netA, netip.MustParsePrefix("10.1.0.16/29")), []byte("damaged"))
	_, err = w.claim(b, netA, subnetA, "10.1.0.17/32")
	expectFault(t, err, fault.Exists, "cannot be read")

	w.must(b, netA, subnetA, "10.1.0.77/32")
	_, err = w.claim(b, netA, subnetA, "10.1.0.72/29")
	expectFault(t, err, fault.Exists, "block 10.1.0.77/32 of host host-b")
	for range 18 { // no block contains the single address
		if w.must(a, netA, subnetA, "").Contains(netip.MustParseAddr("10.1.0.77")) {
			t.Error("address claimed twice")
		}
	}
}

func TestReleasedBlockInQuarantine(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	p := w.must(a, netA, subnetA, "10.1.0.8/29")
	if err := w.Give(t.Context(), a, netA, p, ""); err != nil {
		t.Fatal(err)
	}
	w.expectOwners(netA, "10.1.0.8/29 released")
	if w.granted != DefaultQuarantine {
		t.Errorf("quarantine: got %s", w.granted)
	}
	_, err := w.claim(b, netA, subnetA, "10.1.0.9/32")
	expectFault(t, err, fault.Busy, "released with block 10.1.0.8/29 less than 10m0s ago")
	if err := w.Give(t.Context(), a, netA, p, ""); err != nil {
		t.Errorf("again: got %v", err)
	}
	delete(w.values, w.Keys.Quarantine(netA, p)) // its lease has ended
	w.must(b, netA, subnetA, "10.1.0.9/32")

	first := w.must(a, netA, subnetA, "")
	if err := w.Give(t.Context(), a, netA, first, ""); err != nil {
		t.Error(err)
	}
	if got := w.must(a, netA, subnetA, ""); got == first {
		t.Errorf("got %s, which was just released", got)
	}
}

func TestGivenPartChangesOwner(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	w.must(a, netA, subnetA, "10.1.0.8/29")
	half := netip.MustParsePrefix("10.1.0.12/30")

	err := w.Give(t.Context(), a, netA, half, "b")
	expectFault(t, err, fault.Conflict, "host-b: does not want addresses any more")
	w.set(w.Keys.Wish("b", netA), nil)
	err = w.Give(t.Context(), b, netA, half, "b")
	expectFault(t, err, fault.Conflict, "is not of this host")
	err = w.Give(t.Context(), a, netA, half, "")
	expectFault(t, err, fault.Invalid, "is only a part of block 10.1.0.8/29")
	w.expectOwners(netA, "10.1.0.8/29 a")

	if err := w.Give(t.Context(), a, netA, half, "b"); err != nil {
		t.Fatal(err)
	}
	w.expectOwners(netA, "10.1.0.12/30 b, 10.1.0.8/30 a")
	if _, wanted := w.values[w.Keys.Wish("b", netA)]; wanted {
		t.Error("wish remains")
	}
	w.set(w.Keys.Wish("b", netA), nil)
	if err := w.Give(t.Context(), a, netA, netip.MustParsePrefix("10.1.0.8/30"), "b"); err != nil {
		t.Error(err)
	}
	w.expectOwners(netA, "10.1.0.12/30 b, 10.1.0.8/30 b")
}

func TestConfirmReleasesOwnBlocks(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	w.must(a, netA, subnetA, "10.1.0.8/29")
	w.must(b, netA, subnetA, "10.1.0.16/29")
	if err := w.Confirm(t.Context(), a, netA); err != nil {
		t.Error(err)
	}
	w.expectOwners(netA, "10.1.0.16/29 b, 10.1.0.8/29 released")

	w.must(a, netA, subnetA, "10.1.0.24/29")
	if err := w.RemoveNetwork(t.Context(), netA); err != nil {
		t.Error(err)
	}
	if err := w.Confirm(t.Context(), a, netA); err != nil {
		t.Error(err)
	}
	w.expectOwners(netA, "10.1.0.16/29 b, 10.1.0.8/29 released") // a deleted network needs no quarantine
	stale := Caller{"b", b.Epoch - 1}
	expectFault(t, w.Confirm(t.Context(), stale, netA), fault.Denied, "registered again")
}

func TestStoreAwayReported(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a := w.host("a")
	w.fails = fault.New(fault.Unavailable, "store", "cannot be reached")
	_, claim := w.claim(a, netA, subnetA, "")
	_, create := w.CreateNetwork(t.Context(), network(netB, "db"), false)
	_, update := w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netA})
	for _, err := range []error{claim, create, update, w.RemoveNetwork(t.Context(), netA), w.Sweep(t.Context()),
		w.Confirm(t.Context(), a, netA), w.Forget(t.Context(), "a"),
		w.Give(t.Context(), a, netA, netip.MustParsePrefix("10.1.0.8/29"), "")} {
		expectFault(t, err, fault.Unavailable, "cannot be reached")
	}
}

func TestManyConflictsAreBusy(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a := w.host("a")
	var touch func()
	touch = func() {
		v := w.values[w.Keys.Network(netA)]
		w.set(v.Key, v.Data)
		w.rival = touch
	}
	w.rival = touch
	_, err := w.claim(a, netA, subnetA, "")
	expectFault(t, err, fault.Busy, "is being changed by many hosts")
	_, err = w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netA})
	expectFault(t, err, fault.Busy, "is being changed by many hosts")
	if got := w.owners(netA); strings.Contains(got, " a") {
		t.Errorf("got %s", got)
	}
}
