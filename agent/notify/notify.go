// Package notify wakes goroutines without a payload. Notifications of a busy receiver are merged into one: a receiver
// reads the current state itself, so that it needs to know only that something has changed.
//
// A Signal has one receiver, a Notifier any number. It is not for events with content: see package events.
package notify

import (
	"context"
	"sync"
	"time"
)

// Signal wakes one receiver, which receives from it as from a channel. A nil Signal is never notified.
type Signal chan struct{}

// NewSignal returns a signal that is not notified.
func NewSignal() Signal { return make(Signal, 1) }

// Notify wakes the receiver. It does not block, and has no effect if a notification is already pending.
func (s Signal) Notify() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Wait waits for a notification, then for the debounce interval, and consumes all notifications until its end. It
// returns the error of ctx if ctx ends first.
func (s Signal) Wait(ctx context.Context, debounce time.Duration) error {
	select {
	case <-s:
	case <-ctx.Done():
		return ctx.Err()
	}

	if debounce > 0 {
		select {
		case <-time.After(debounce):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-s:
	default:
	}

	return ctx.Err()
}

// Notifier wakes all its subscribers. The zero value is ready to use. It is safe for concurrent use.
type Notifier struct {
	mu          sync.Mutex
	subscribers map[Signal]bool
}

// Subscribe returns a signal for each Notify until stop is called. It is notified initially, so that the subscriber
// sees what changed before.
func (n *Notifier) Subscribe() (notified Signal, stop func()) {
	s := NewSignal()
	s.Notify()

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.subscribers == nil {
		n.subscribers = map[Signal]bool{}
	}
	n.subscribers[s] = true

	return s, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.subscribers, s)
	}
}

// Notify wakes all subscribers. It does not block.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.subscribers {
		s.Notify()
	}
}
