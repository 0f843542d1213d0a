package egress

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
)

// A record is about the container that has the address of the packet now.
func TestIndexFollowsChanges(t *testing.T) {
	const mac = "\x02\x00\x00\x00\x00\x0a"
	address := netip.MustParseAddr("10.9.0.2")
	of := func(letter string) *plan.Plan {
		c := &plan.Container{Owner: strings.Repeat(letter, 64),
			Endpoints: []plan.Endpoint{{Addresses: []netip.Addr{address}}}}
		return &plan.Plan{Container: c, Via: map[string][]byte{mac: nil}}
	}
	a, changed, b := of("a"), of("a"), of("b")
	x := newIndex()
	check := func(what string, want *plan.Plan) {
		t.Helper()
		to := ippacket.Packet{To: netip.AddrPortFrom(address, 80)}
		for _, got := range []*plan.Plan{x.find("", rules.Outgoing, nflog.Packet{From: []byte(mac)}, ippacket.Packet{}),
			x.find("", rules.Incoming, nflog.Packet{}, to)} {
			if got != want {
				t.Errorf("%s: got %p, want %p", what, got, want)
			}
		}
	}
	check("empty", nil)
	x.replace(nil, a)
	check("first", a)
	x.replace(a, changed)
	check("changed", changed)
	if got := x.find(id.Short(a.Owner), rules.Outgoing, nflog.Packet{}, ippacket.Packet{}); got != changed {
		t.Errorf("by ID: got %p, want %p", got, changed)
	}
	x.replace(nil, b) // got the address before the end of the first one is known
	x.replace(changed, nil)
	check("next owner", b)
	x.replace(b, nil)
	check("none", nil)
}

// The elements of a container in the kernel are those of its addresses, so that two must not have the same.
func TestIndexFindsConflicts(t *testing.T) {
	of := func(letter, mac, address string, ingress ...string) *plan.Plan {
		return &plan.Plan{Via: map[string][]byte{mac: nil}, Container: &plan.Container{Owner: strings.Repeat(letter,
			64),
			Name: letter, Ingress: ingress,
			Endpoints: []plan.Endpoint{{Addresses: []netip.Addr{netip.MustParseAddr(address)}}}}}
	}
	x := newIndex()
	x.replace(nil, of("a", "\x02\x00\x00\x00\x00\x0a", "10.9.0.2", "none"))
	for want, p := range map[string]*plan.Plan{
		"nil":              of("a", "\x02\x00\x00\x00\x00\x0a", "10.9.0.2", "none"),
		"<nil>":            of("b", "\x02\x00\x00\x00\x00\x0b", "10.9.0.2"),
		"MAC address 02:0": of("b", "\x02\x00\x00\x00\x00\x0a", "10.9.0.3"),
		"address 10.9.0.2": of("b", "\x02\x00\x00\x00\x00\x0b", "10.9.0.2", "none"),
	} {
		if got := fmt.Sprint(x.conflict(p)); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
