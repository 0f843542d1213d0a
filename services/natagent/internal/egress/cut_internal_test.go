package egress

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// cutBy returns whether a change of rules ends a connection of a container to port 443 of an address. until are the
// answers under the rules before. During the change the container resolves the name learned.
func cutBy(before, after []string, protocol uint8, to netip.Addr, until map[string]time.Duration, learned string) bool {
	const owner = "aa"
	endpoints := []plan.Endpoint{{Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2")}}}
	planOf := func(rules []string) *plan.Plan {
		return plan.New(&plan.Container{Owner: owner, Rules: rules, Endpoints: endpoints}, nil)
	}
	old, now, book := planOf(before), planOf(after), answered.NewBook(nil, time.Now())
	for name, ago := range until {
		book.Learn(answered.Answer{Name: name, Addresses: []netip.Addr{to}}, old.Opens, time.Now().Add(-ago))
	}
	e := &Enforcer{store: peerStore{}, installed: map[string]*plan.Plan{owner: now},
		books: map[string]*answered.Book{owner: book}}
	e.adopt(now, old)
	cuts := e.cuts(now, old, book)
	if learned != "" {
		e.book(owner).Learn(answered.Answer{Name: learned, Addresses: []netip.Addr{to}, TTL: time.Hour}, now.Opens,
			time.Now())
	}
	return cuts[0].Denied(protocol, netip.AddrPortFrom(to, 443), false)
}

// TestCutsForgottenNames checks connections that are older than the answer with their address, and such that begin
// while a policy changes.
func TestCutsForgottenNames(t *testing.T) {
	const now, long = 0, time.Hour
	to := netip.MustParseAddr("198.51.100.1")
	type ages = map[string]time.Duration
	for _, c := range []struct {
		what          string
		before, after []string
		protocol      uint8
		answers       ages
		learned       string
		want          bool
	}{
		{"known", []string{"a.test", "b.test"}, []string{"a.test"}, unix.IPPROTO_TCP, ages{"a.test": now}, "", false},
		{"known, removed", []string{"a.test", "b.test"}, []string{"b.test"}, unix.IPPROTO_TCP, ages{"a.test": now}, "",
			true},
		{"forgotten", []string{"a.test"}, []string{"a.test", "b.test"}, unix.IPPROTO_TCP, ages{"a.test": long}, "",
			false},
		{"forgotten, can be of a removed name", []string{"a.test", "b.test"}, []string{"a.test"}, unix.IPPROTO_TCP,
			ages{"a.test": long}, "", true},
		{"never answered", []string{"a.test", "internet"}, []string{"a.test"}, unix.IPPROTO_TCP, nil, "", true},
		{"answered meanwhile", []string{"a.test", "b.test"}, []string{"a.test", "c.test"}, unix.IPPROTO_TCP, nil,
			"a.test", false},
		{"QUIC forgotten", []string{"a.test/quic"}, []string{"a.test/quic", "b.test"}, unix.IPPROTO_UDP,
			ages{"a.test": long}, "", false},
		{"QUIC without a check forgotten", []string{"a.test:443/udp"}, []string{"a.test/quic"}, unix.IPPROTO_UDP,
			ages{"a.test": long}, "", true},
		{"QUIC answered meanwhile", []string{"a.test/quic"}, []string{"a.test/quic", "b.test"}, unix.IPPROTO_UDP, nil,
			"a.test", false},
		{"QUIC without a check answered meanwhile", []string{"a.test:443/udp"}, []string{"a.test/quic"},
			unix.IPPROTO_UDP, nil, "a.test", true},
		{"QUIC that a rule for addresses allowed", []string{"a.test/quic", "internet"}, []string{"a.test/quic"},
			unix.IPPROTO_UDP, ages{"a.test": now}, "", false},
	} {
		if got := cutBy(c.before, c.after, c.protocol, to, c.answers, c.learned); got != c.want {
			t.Errorf("%s: %v to %v: got %v", c.what, c.before, c.after, got)
		}
	}
}
