package sandbox

import "sync"

// notifier wakes those who listen to it. Rings while somebody is awake are heard once.
type notifier struct {
	mu        sync.Mutex
	listeners map[chan struct{}]bool
}

func newBell() *notifier { return &notifier{listeners: map[chan struct{}]bool{}} }

// Subscribe answers a channel that has something in it whenever the bell has rung, at first too, until stop is called.
func (b *notifier) Subscribe() (rung <-chan struct{}, stop func()) {
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

func (b *notifier) Notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
