package server

import (
	"log/slog"
	"sync"
	"time"
)

// failureLogInterval is the time between two log lines of failed handshakes, so that nobody fills the log.
const failureLogInterval = time.Second

// failures logs TLS handshakes that fail, because of a certificate that is refused or a client that does not use TLS, and peers that the
// kernel does not know.
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
	f.log.Warn("peer cannot be authenticated, refused", "peer", peer, "more_since_last", f.unlogged, "error", err)
	f.logged, f.unlogged = now, 0
}
