package egress

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// peerStore is a store with peers only.
type peerStore struct {
	Store
	all map[string][]netip.Prefix
}

func (s peerStore) Peer(name string) (*plan.Peer, bool) {
	prefixes, ok := s.all[name]
	return &plan.Peer{Name: name, Prefixes: prefixes}, ok
}

func TestAllowingRules(t *testing.T) {
	const container = "aa"
	from := netip.MustParseAddr("10.9.0.2")
	first, second, unnamed := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"),
		netip.MustParseAddr("198.51.100.3")
	db := netip.MustParseAddr("10.9.0.3")
	store := peerStore{all: map[string][]netip.Prefix{"container:db": {netip.PrefixFrom(db, 32)}}}
	c := plan.New(&plan.Container{Owner: container, Rules: []string{"a.test:443", "*.b.test:443", "c.test:80",
		"container:db:5432"}, Endpoints: []plan.Endpoint{{Addresses: []netip.Addr{from}}}}, nil)
	book := answered.NewBook(map[answered.Open]time.Duration{{Addr: unnamed}: time.Hour}, time.Now())
	e := &Enforcer{store: store, installed: map[string]*plan.Plan{container: c},
		books: map[string]*answered.Book{container: book}}
	learn := func(name string, a netip.Addr) {
		book.Learn(answered.Answer{Name: name, Addresses: []netip.Addr{a}, TTL: time.Hour}, c.Opens, time.Now())
	}
	learn("www.b.test", first)
	learn("a.test", second)
	learn("c.test", second)

	rules := e.AllowingRules()
	delete(store.all, "container:db")
	learn("a.test", first)
	for _, c := range []struct {
		to   netip.Addr
		port uint16
		want string
	}{
		{first, 443, "*.b.test:443"}, // the second name of that port
		{second, 80, "c.test:80"},
		{second, 443, "a.test:443"},  // its last name is of another port
		{unnamed, 443, "a.test:443"}, // answered before a restart
		{unnamed, 80, Established},
		{db, 5432, "container:db:5432"}, // the peer has moved later
	} {
		if got := rules(from, unix.IPPROTO_TCP, netip.AddrPortFrom(c.to, c.port), false); got != c.want {
			t.Errorf("%s:%d: got %q, want %q", c.to, c.port, got, c.want)
		}
	}
	if got := rules(db, unix.IPPROTO_TCP, netip.AddrPortFrom(first, 443), false); got != "" {
		t.Errorf("a source without a policy: got %q", got)
	}
}
