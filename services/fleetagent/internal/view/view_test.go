package view

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

const fleetID = "00112233445566778899aabbccddeeff"

var (
	keys  = record.ForFleet("", fleetID)
	start = time.Unix(1000, 0)
)

func newView() *View { return New(keys, fleetID, "h0", "me", "192.0.2.1") }

func put(key string, m proto.Message) Change {
	data, err := record.Encode(m)
	if err != nil {
		panic(err)
	}
	return Change{Key: key, Data: data, Revision: 1}
}

func host(n int) Change {
	id := fmt.Sprintf("h%d", n)
	return put(keys.Host(id), &fleetv1.Host{Id: id, Name: "host" + id, Address: "192.0.2.1"})
}

func alive(n int, yes bool) Change {
	return Change{Key: keys.Presence(fmt.Sprintf("h%d", n)), Data: []byte("x"), Deleted: !yes}
}

func network(n int) Change {
	id := fmt.Sprintf("n%d", n)
	return put(keys.Network(id), &fleetv1.OverlayNetwork{Id: id, Name: id, Pools: []*fleetv1.OverlayPool{{
		Subnet: fmt.Sprintf("10.%d.0.0/16", n), Gateway: fmt.Sprintf("10.%d.0.1", n)}}})
}

func block(net, n, owner int) Change {
	id, p := fmt.Sprintf("n%d", net), netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/28", net, n*16))
	return put(keys.Block(id, p), &fleetv1.OverlayBlock{Prefix: p.String(), NetworkId: id,
		HostId: fmt.Sprintf("h%d", owner)})
}

func endpoint(h, net, n int, name string) Change {
	e := &fleetv1.OverlayEndpoint{HostId: fmt.Sprintf("h%d", h), NetworkId: fmt.Sprintf("n%d", net),
		Owner: fmt.Sprintf("c%d", n), Addresses: []string{"10.1.0.9"}, Names: []string{name}}
	return put(keys.Endpoint(e.GetHostId(), e.GetNetworkId(), e.GetOwner()), e)
}

func mark(net int) Change {
	return Change{Key: keys.Mark("h0", fmt.Sprintf("n%d", net)), Data: []byte("1"), Revision: 1}
}

// service is the state of a service that applies messages.
type service struct {
	self  string
	items map[string]string
}

func (s *service) overlay(m *fleetv1.WatchOverlayResponse) {
	if m == nil {
		return
	}
	if m.GetReset_() || s.items == nil {
		s.items, s.self = map[string]string{}, ""
	}
	if m.GetSelf() != nil {
		s.self = m.GetSelf().String()
	}
	for kind, removed := range map[string][]string{"h": m.GetRemovedHosts(), "n": m.GetRemovedNetworks(),
		"b": m.GetRemovedBlocks()} {
		for _, id := range removed {
			delete(s.items, kind+id)
		}
	}
	for _, h := range m.GetHosts() {
		s.items["h"+h.GetId()] = text(h)
	}
	for _, n := range m.GetNetworks() {
		s.items["n"+n.GetId()] = text(n)
	}
	for _, b := range m.GetBlocks() {
		s.items["b"+b.GetPrefix()] = text(b)
	}
}

func (s *service) endpoints(m *fleetv1.WatchEndpointsResponse) {
	if m == nil {
		return
	}
	if m.GetReset_() || s.items == nil {
		s.items = map[string]string{}
	}
	for _, k := range m.GetRemoved() {
		delete(s.items, k.GetHostId()+k.GetNetworkId()+k.GetOwner())
	}
	for _, e := range m.GetEndpoints() {
		s.items[e.GetHostId()+e.GetNetworkId()+e.GetOwner()] = text(e)
	}
	for _, id := range m.GetRemovedHosts() {
		delete(s.items, id)
	}
	for _, h := range m.GetHosts() {
		s.items[h.GetId()] = text(h)
	}
}

func text(m proto.Message) string {
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return string(data)
}

// TestChangesGiveTheFullState applies random changes: a service that gets all differences has the
// same as one that gets the full state, and a view that gets only the final records agrees.
func TestChangesGiveTheFullState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newView()
		var overlay, endpoints service
		raw := map[string]Change{}
		for i := range rapid.IntRange(1, 60).Draw(t, "changes") {
			a, b := rapid.IntRange(0, 3).Draw(t, "a"), rapid.IntRange(1, 2).Draw(t, "b")
			n := rapid.IntRange(0, 3).Draw(t, "n")
			c := rapid.SampledFrom([]Change{host(a), alive(a, true), network(b), block(b, n, a), endpoint(a, b, n, "x"),
				endpoint(a, b, n, "y"), mark(b)}).Draw(t, "change")
			if c.Deleted = rapid.IntRange(0, 3).Draw(t, "delete") == 0; c.Deleted {
				delete(raw, c.Key)
			} else {
				raw[c.Key] = c
			}
			d := v.Apply([]Change{c}, start.Add(time.Duration(i)*time.Hour)) // no two hosts are lost together
			overlay.overlay(d.Overlay)
			endpoints.endpoints(d.Endpoints)
		}

		fresh := newView()
		var all []Change
		for _, c := range raw {
			all = append(all, c)
		}
		fresh.Apply(all, start)
		for _, from := range []*View{v, fresh} {
			var o, e service
			os, es := from.Full(2)
			for _, m := range os {
				o.overlay(m)
			}
			for _, m := range es {
				e.endpoints(m)
			}
			if fmt.Sprint(o) != fmt.Sprint(overlay) && len(overlay.items)+len(o.items) > 0 {
				t.Fatalf("overlay: got %q by changes, %q in full", overlay, o)
			}
			if fmt.Sprint(e.items) != fmt.Sprint(endpoints.items) && len(endpoints.items)+len(e.items) > 0 {
				t.Fatalf("endpoints: got %q by changes, %q in full", endpoints.items, e.items)
			}
		}
	})
}

func TestUnreadableRecordsAreSetAside(t *testing.T) {
	v := newView()
	d := v.Apply([]Change{host(0), network(1), network(2), block(1, 0, 0), endpoint(1, 1, 1, "x")}, start)
	if len(d.Damaged) != 0 || len(d.Overlay.GetNetworks()) != 2 {
		t.Fatalf("got %v", d)
	}
	moved := block(1, 1, 0)
	moved.Key = keys.Block("n1", netip.MustParsePrefix("10.1.0.32/28"))
	other := network(2)
	other.Key = keys.Network("n1")
	d = v.Apply([]Change{{Key: keys.Network("n2"), Data: []byte("by hand"), Revision: 2}, other, moved,
		{Key: keys.Host("h0"), Data: nil, Revision: 2}, {Key: keys.Blocks("n1") + "zz", Revision: 2},
		network(3)}, start)
	if len(d.Damaged) != 5 {
		t.Errorf("got damaged %v", d.Damaged)
	}
	if n := d.Overlay.GetNetworks(); len(n) != 1 || n[0].GetId() != "n3" || len(d.Overlay.GetRemovedHosts()) > 0 {
		t.Errorf("got %v, want only the new network", d.Overlay)
	}
	d = v.Apply([]Change{{Key: keys.Network("n2"), Data: []byte("by hand"), Revision: 3}}, start)
	if len(d.Damaged) != 0 {
		t.Errorf("reported again: %v", d.Damaged)
	}
	if d = v.Apply([]Change{network(2)}, start); len(v.Damaged()) != 4 {
		t.Errorf("got damaged %v after the repair of one", v.Damaged())
	}
}

func TestManyLostHostsRaiseAnAlarm(t *testing.T) {
	v := newView()
	var all []Change
	for n := range 10 {
		all = append(all, host(n), alive(n, true))
	}
	v.Apply(all, start)
	suspects := func() string {
		var names []string
		full, _ := v.Full(100)
		for _, h := range full[0].GetHosts() {
			if h.GetState() == fleetv1.HostState_HOST_STATE_SUSPECT {
				names = append(names, h.GetId())
			}
		}
		return strings.Join(names, " ")
	}
	v.Apply([]Change{alive(1, false)}, start.Add(-time.Hour))
	if got := suspects(); got != "h1" {
		t.Errorf("one lost: got suspects %q", got)
	}
	v.Apply([]Change{alive(2, false), alive(3, false)}, start)
	d := v.Apply([]Change{alive(4, false)}, start.Add(time.Second)) // three of ten within a minute
	if d.AlarmStarted {
		t.Error("alarm for 30 %")
	}
	d = v.Apply([]Change{alive(5, false)}, start.Add(2*time.Second))
	if !d.AlarmStarted || len(d.Lost) != 5 || suspects() != "" {
		t.Errorf("got %v, suspects %q", d, suspects())
	}
	if d = v.Apply([]Change{alive(1, true)}, start.Add(time.Hour)); d.AlarmStarted || d.AlarmEnded {
		t.Errorf("four are still lost: got %v", d)
	}
	if d = v.Apply([]Change{alive(2, true)}, start.Add(time.Hour)); !d.AlarmEnded || len(suspects()) != 8 {
		t.Errorf("got %v, suspects %q", d, suspects())
	}
}

func TestRemovedHostHasNoNetworks(t *testing.T) {
	v := newView()
	v.Apply([]Change{host(0), host(1), network(1), block(1, 0, 0), block(1, 1, 1), mark(1),
		endpoint(1, 1, 1, "x")}, start)
	d, changed := v.SetRemoved(true)
	o, e := d.Overlay, d.Endpoints
	if !changed || !o.GetSelf().GetRemoved() || len(o.GetRemovedHosts()) != 2 || len(o.GetRemovedNetworks()) != 1 ||
		len(o.GetRemovedBlocks()) != 2 || len(e.GetRemoved()) != 1 {
		t.Errorf("got %v", d)
	}
	if d := v.Apply([]Change{network(2)}, start); d.Overlay != nil {
		t.Errorf("got %v on a removed host", d.Overlay)
	}
	if _, changed := v.SetRemoved(true); changed {
		t.Error("reported again")
	}
	d, _ = v.SetRemoved(false) // the store was restored, and has the host again
	if len(d.Overlay.GetHosts()) != 2 || len(d.Overlay.GetNetworks()) != 2 || len(d.Endpoints.GetEndpoints()) != 1 {
		t.Errorf("got %v", d)
	}
}

func FuzzApply(f *testing.F) {
	for _, c := range []Change{host(1), network(1), block(1, 1, 1), endpoint(1, 1, 1, "x"),
		put(keys.Wish("h1", "n1"), &fleetv1.BlockWish{FromHostId: "h0", Prefix: "10.1.0.0/28"}),
		put(keys.Settings(), &fleetv1.FleetSettings{AddressSpace: []string{"10.0.0.0/8"}}),
		put(keys.Info("h1"), &fleetv1.HostInfo{UnderlayMtu: 1500})} {
		f.Add(c.Key, c.Data[:len(c.Data)-4], true)
	}
	f.Fuzz(func(t *testing.T, key string, body []byte, sealed bool) {
		if sealed { // with a right checksum, so that the message is read
			body = record.Seal(append([]byte(nil), body...))
		}
		v := newView()
		v.Apply([]Change{host(0), mark(1), {Key: key, Data: body, Revision: 5}}, start)
		v.Full(10)
	})
}
