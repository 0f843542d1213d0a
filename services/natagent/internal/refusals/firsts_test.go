package refusals

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// at returns a refusal of a container to a port.
func at(when time.Duration, owner string, port int, change ...func(*Refusal)) Refusal {
	r := Refusal{Time: time.Unix(1000, 0).Add(when), Owner: owner, Reason: "policy", Protocol: "tcp",
		Address: netip.MustParseAddr("192.0.2.1"), Port: uint16(port)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func TestFirstsOfEachKind(t *testing.T) {
	var f firsts
	named := func(address string) func(*Refusal) {
		return func(r *Refusal) { r.Domain, r.Address = "a.test", netip.MustParseAddr(address) }
	}
	for i, c := range []struct {
		r    Refusal
		want bool
	}{
		{at(0, "a", 80), true}, {at(1, "a", 80), false}, {at(2, "a", 81), true}, {at(3, "b", 80), true},
		{at(4, "a", 80, func(r *Refusal) { r.Incoming = true }), true},
		{at(5, "a", 80, func(r *Refusal) { r.Rule, r.Reason = "!lan", "rule" }), true},
		{at(6, "a", 80, func(r *Refusal) { r.Rule, r.Reason = "!all:80", "rule" }), true},
		{at(7, "a", 80, func(r *Refusal) { r.Protocol = "udp" }), true},
		{at(8, "a", 80, named("192.0.2.2")), true}, {at(9, "a", 80, named("192.0.2.3")), false},
		{at(10, "a", 90, func(r *Refusal) { r.Reason = Observed }), false},
	} {
		if got := f.isFirst(c.r); got != c.want {
			t.Errorf("%d: got %v", i, got)
		}
	}
}

// A container that scans ports neither fills the memory nor hides the refusals of another one.
func TestFirstsAreBounded(t *testing.T) {
	var f firsts
	n := 0
	for port := range 60000 {
		if f.isFirst(at(0, "a", port)) {
			n++
		}
	}
	if n != maxFirsts || !f.isFirst(at(1, "b", 1)) || f.isFirst(at(period-1, "a", 60001)) {
		t.Errorf("got %d", n)
	}
	if !f.isFirst(at(period, "a", 60001)) || f.isFirst(at(period, "a", 1)) {
		t.Error("the next period: a new kind is no first refusal, or a known one is")
	}

	for i := range 3 * maxKinds {
		f.isFirst(at(0, fmt.Sprint(i), 1))
	}
	if len(f.known) > maxKinds || len(f.order) != len(f.known) || len(f.rates) > maxKinds+1 {
		t.Errorf("got %d kinds, %d in order, %d rates", len(f.known), len(f.order), len(f.rates))
	}
}
