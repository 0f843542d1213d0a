package namepolicy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxKnown bounds the addresses that are known of one container. Beyond that all are forgotten.
const maxKnown = 4096

// Session is the time that natagent runs without an interruption. The zero value is one in which it does
// not run. It is safe for concurrent use.
type Session struct{ count, current atomic.Uint64 }

// Set begins a session, or ends the present one.
func (s *Session) Set(runs bool) {
	if !runs {
		s.current.Store(0)
		return
	}
	s.current.Store(s.count.Add(1))
}

// known holds addresses that natagent has opened for the container, so that it need not be asked for each
// answer. It keeps them open during a session, also if the policy changes.
type known struct {
	mu      sync.Mutex
	session uint64
	all     map[netip.Addr]answerable
}

// answerable is an address that can be answered for a name with a TTL that ends before a time.
type answerable struct {
	name  string
	until time.Time
}

// covers reports whether all addresses can be answered for a name with a TTL.
func (k *known) covers(session uint64, name string, addresses []netip.Addr, ttl time.Duration, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if session == 0 || k.session != session {
		return false
	}
	for _, a := range addresses {
		if one := k.all[a]; one.name != name || one.until.Sub(now) < ttl {
			return false
		}
	}
	return true
}

// put keeps addresses that natagent has opened for a name in a session.
func (k *known) put(session uint64, name string, addresses []netip.Addr, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || k.session != session || len(k.all)+len(addresses) > maxKnown {
		k.session, k.all = session, map[netip.Addr]answerable{}
	}
	for _, a := range addresses {
		k.all[a] = answerable{name, until}
	}
}
