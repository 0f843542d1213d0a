package namepolicy

import (
	"sync"
	"time"
)

// recordRate bounds the records of refused questions of one container in a second, as that of the packets that a rule
// refuses.
const recordRate = 100

// rate counts records. It is safe for concurrent use.
type rate struct {
	mu    sync.Mutex
	since time.Time
	n     int
	lost  uint64 // since the last record
}

// take counts a record. ok is false if there are too many; lost is their number before this one.
func (r *rate) take(now time.Time) (lost uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= time.Second {
		r.since, r.n = now, 0
	}
	if r.n++; r.n > recordRate {
		r.lost++
		return 0, false
	}
	lost, r.lost = r.lost, 0
	return lost, true
}
