package egress

import (
	"net/netip"
	"testing"
	"time"
)

// peerStore is a store with peers only.
type peerStore struct {
	Store
	all map[string][]netip.Prefix
}

func (s peerStore) Peer(name string) (*Peer, bool) {
	prefixes, ok := s.all[name]
	return &Peer{name, prefixes}, ok
}

func TestAllowingRules(t *testing.T) {
	const container = "aa"
	from := netip.MustParseAddr("10.9.0.2")
	first, second, unnamed := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"),
		netip.MustParseAddr("198.51.100.3")
	db := netip.MustParseAddr("10.9.0.3")
	store := peerStore{all: map[string][]netip.Prefix{"container:db": {netip.PrefixFrom(db, 32)}}}
	later := time.Now().Add(time.Hour)
	e := &Enforcer{store: store,
		installed: map[string]*installed{container: {Container: &Container{Owner: container,
			Rules:     []string{"a.test:443", "*.b.test:443", "c.test:80", "container:db:5432"},
			Endpoints: []Endpoint{{Addresses: []netip.Addr{from}}}}}},
		expiry: map[string]map[answer]time.Time{container: {{0, first}: later, {0, second}: later, {0, unnamed}: later,
			{1, second}: later}},
		names: map[string]map[netip.Addr]string{container: {first: "www.b.test", second: "c.test"}}}

	rules := e.AllowingRules()
	delete(store.all, "container:db")
	e.names[container][first] = "a.test"
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
		if got := rules(from, protoTCP, netip.AddrPortFrom(c.to, c.port), false); got != c.want {
			t.Errorf("%s:%d: got %q, want %q", c.to, c.port, got, c.want)
		}
	}
	if got := rules(db, protoTCP, netip.AddrPortFrom(first, 443), false); got != "" {
		t.Errorf("a source without a policy: got %q", got)
	}
}
