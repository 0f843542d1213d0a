package egress

import (
	"net/netip"
	"testing"
	"time"
)

// TestAddressesStayOpenForTTL checks that an address is open as long as a client may keep the last
// answer, and that not every answer changes the kernel.
func TestAddressesStayOpenForTTL(t *testing.T) {
	addr := netip.MustParseAddr("198.51.100.1")
	c := &installed{Container: &Container{Owner: "a", Rules: []string{"a.test:443"}}}
	const ttl = 10 * time.Minute
	for left, renewed := range map[time.Duration]bool{
		ttl + grace/2:     false, // answered half a minute ago
		ttl - time.Second: true,  // the answer outlives the address
		ttl / 2:           true,
		time.Second:       true,
	} {
		e := &Enforcer{expiry: map[string]map[answer]time.Time{"a": {{0, addr}: time.Now().Add(left)}}}
		add, renew := e.sort(c, "a.test", []netip.Addr{addr}, ttl+grace)
		if len(add) != 0 || (len(renew) == 1) != renewed {
			t.Errorf("open for %v: added %v, renewed %v, want %v", left, add, renew, renewed)
		}
	}

	e := &Enforcer{expiry: map[string]map[answer]time.Time{}}
	if add, renew := e.sort(c, "a.test", []netip.Addr{addr}, ttl+grace); len(add) != 1 || len(renew) != 0 {
		t.Errorf("first answer: added %v, renewed %v", add, renew)
	}
}
