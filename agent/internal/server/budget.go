package server

import (
	"fmt"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxWatches is the number of event subscriptions of one client, so that it cannot use up those of
// all clients.
const maxWatches = 128

// budget counts a resource for each client.
type budget struct {
	mu    sync.Mutex
	limit int
	held  map[string]int
}

// take adds one to the count of a client. release must be called once.
func (b *budget) take(peer string) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[peer] >= b.limit {
		return nil, fault.New(fault.Exhausted, "events", fmt.Sprintf("%s already has %d subscriptions", peer, b.limit),
			fault.WithHint("close some of them"))
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
