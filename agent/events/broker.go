// Package events is how a service tells clients what happens. Nothing is on disk: a client that was not connected can ask for the last
// few only. Emitting costs next to nothing, however many subscriptions there are and however slow their readers: all of them read
// one list, of which each only has its place.
package events

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Event is something that has happened. See fairlead.event.v1.Event.
type Event struct {
	Time       time.Time
	Type       string
	Action     string
	ID         string
	Attributes map[string]string // not to be changed once told
}

// The types.
const (
	Container = "container"
	Network   = "network"
)

const (
	// historySize is how many events there are for clients that ask for the past.
	historySize = 256
	// subscriptionBuffer is how many events a subscription may be behind, at least, before it is closed.
	subscriptionBuffer = 1024
	// maxListeners bounds the subscriptions of a service. Each may hold what gRPC buffers for a client that does not read, 64 KiB.
	maxListeners = 512
)

// Broker passes events on. The zero value is ready. It is safe for concurrent use.
type Broker struct {
	mu        sync.Mutex
	history   []Event // the oldest first; shared by all listeners
	first     uint64  // the number of last[0], counted from the first event of all
	listeners map[*Subscription]bool
}

// Subscription is one subscription.
type Subscription struct {
	broker *Broker
	next   uint64        // the number of the event that it gets next
	wake   chan struct{} // has room for one
}

// Emit passes an event on, with the time of now. It never waits.
func (b *Broker) Emit(kind, action, id string, attributes map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := Event{Time: time.Now(), Type: kind, Action: action, ID: id, Attributes: attributes}
	if len(b.history) == 2*subscriptionBuffer {
		b.history = append(b.history[:0:0], b.history[subscriptionBuffer:]...)
		b.first += subscriptionBuffer
	}
	b.history = append(b.history, e)
	for l := range b.listeners {
		select {
		case l.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// Subscribe subscribes, from a time in the past on; the zero time means from now on. Close must be called. It fails if there are too many
// subscriptions.
func (b *Broker) Subscribe(since time.Time) (*Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.listeners) >= maxListeners {
		return nil, fault.New(fault.Exhausted, "events", "too many clients are subscribed", fault.WithHint("close some of them"))
	}
	l := &Subscription{broker: b, next: b.first + uint64(len(b.history)), wake: make(chan struct{}, 1)}
	if !since.IsZero() {
		oldest := l.next - uint64(min(len(b.history), historySize))
		for l.next > oldest && !b.history[l.next-1-b.first].Time.Before(since) {
			l.next--
		}
	}
	if b.listeners == nil {
		b.listeners = map[*Subscription]bool{}
	}
	b.listeners[l] = true
	return l, nil
}

// Next waits for the next event. One that has happened is returned though ctx has ended.
func (l *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := l.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// take returns the next event; ok is false if it has not happened yet. It fails if the event is not remembered any more.
func (l *Subscription) take() (e Event, ok bool, err error) {
	b := l.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case l.next < b.first:
		return e, false, fault.New(fault.Exhausted, "events", "event stream closed: client too slow",
			fault.WithHint("retry with --since; the last %d events are remembered", historySize))
	case l.next == b.first+uint64(len(b.history)):
		return e, false, nil
	}
	e = b.history[l.next-b.first]
	l.next++
	return e, true, nil
}

// Close ends the subscription.
func (l *Subscription) Close() {
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	delete(l.broker.listeners, l)
}
