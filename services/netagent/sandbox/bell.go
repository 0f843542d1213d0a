package sandbox

import "sync"

// bell wakes those who listen to it. Rings while somebody is awake are heard once.
type bell struct {
	mu        sync.Mutex
	listeners map[chan struct{}]bool
}

func newBell() *bell { return &bell{listeners: map[chan struct{}]bool{}} }

// listen answers a channel that has something in it whenever the bell has rung, at first too, until stop is called.
func (b *bell) listen() (rung <-chan struct{}, stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	b.listeners[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
