package sandbox

import "sync"

// notifier wakes its subscribers, without payload. Notifications of a busy subscriber are merged.
type notifier struct {
	mu          sync.Mutex
	subscribers map[chan struct{}]bool
}

func newNotifier() *notifier { return &notifier{subscribers: map[chan struct{}]bool{}} }

// Subscribe returns a channel that receives a value initially and after each notification, until
// stop is called.
func (n *notifier) Subscribe() (notified <-chan struct{}, stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	n.subscribers[c] = true
	return c, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.subscribers, c)
	}
}

func (n *notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.subscribers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
