package resolver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestFailedServersAreTriedLast(t *testing.T) {
	var routes []Upstream
	for i := range 4 {
		routes = append(routes, Upstream{Server: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 53)})
	}

	now := time.Unix(1000, 0)
	m := &failureTracker{}
	expect := func(when string, after time.Duration, want ...int) {
		t.Helper()
		var got []int
		for _, r := range m.order(routes, now.Add(after)) {
			got = append(got, int(r.Server.Addr().As4()[3]))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
	}

	expect("at first", 0, 0, 1, 2)
	m.record(routes[0].Server, false, now)
	expect("one fails", time.Second, 1, 2, 0)
	m.record(routes[1].Server, false, now.Add(time.Second))
	m.record(routes[2].Server, false, now.Add(time.Second))
	expect("all fail", 2*time.Second, 0, 1, 2)
	m.record(routes[1].Server, true, now.Add(3*time.Second))
	expect("one responds again", 4*time.Second, 1, 0, 2)
	expect("later", time.Minute, 0, 1, 2)
	m.record(routes[3].Server, false, now.Add(time.Minute))
	if len(m.failed) != 1 {
		t.Errorf("expired failures remain: %v", m.failed)
	}
}
