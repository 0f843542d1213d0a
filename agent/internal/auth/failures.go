package auth

import (
	"log/slog"
	"sync"
	"time"
)

// failureLogInterval is the minimum time between two log lines of failed handshakes, so that
// clients cannot flood the log.
const failureLogInterval = time.Second

// failures logs failed TLS handshakes, caused by a rejected certificate or a client without TLS,
// and peers that the kernel cannot identify.
type failures struct {
	log *slog.Logger

	mu       sync.Mutex
	logged   time.Time
	unlogged int
}

func (f *failures) add(peer string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.logged) < failureLogInterval {
		f.unlogged++
		return
	}
	f.log.Warn("peer cannot be authenticated, rejected", "peer", peer, "more_since_last", f.unlogged, "error", err)
	f.logged, f.unlogged = now, 0
}
