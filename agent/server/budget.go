package server

import (
	"fmt"
	"net"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxWatches is how many subscriptions of events one peer may have, so that it cannot take those of others.
const maxWatches = 128

// budget counts what each peer holds of something.
type budget struct {
	mu    sync.Mutex
	limit int
	held  map[string]int
}

// take counts one more for a peer. release gives it back; it is called once.
func (b *budget) take(peer string) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[peer] >= b.limit {
		return nil, fault.New(fault.Exhausted, "events", fmt.Sprintf("%s has %d subscriptions already", peer, b.limit), fault.WithHint("close some of them"))
	}
	if b.held == nil {
		b.held = map[string]int{}
	}
	b.held[peer]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.held[peer]--; b.held[peer] == 0 {
			delete(b.held, peer)
		}
	}, nil
}

// peer names all connections of one user or machine.
func (i identity) peer() string {
	switch {
	case i.local != nil:
		return fmt.Sprintf("uid=%d", i.local.Uid)
	case i.certificate != "":
		return fmt.Sprintf("certificate=%q", i.certificate)
	}
	address, _, err := net.SplitHostPort(i.remote)
	if err != nil {
		return i.remote
	}
	return address
}
