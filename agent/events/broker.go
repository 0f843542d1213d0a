// Package events distributes the events of a service to clients. Events are kept in memory only: a
// client can request the last 256. Emitting is cheap, whatever the number of subscriptions and the
// speed of their readers: all of them share one list and each stores only its position.
package events

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
)

// Event is a change of a container, network, image or volume. See fairlead.event.v1.Event.
type Event struct {
	Time       time.Time
	Type       string
	Action     string
	ID         string
	Attributes map[string]string // must not be modified after Emit
}

// The types.
const (
	Container = "container"
	Network   = "network"
	Image     = "image"
	Volume    = "volume"
	Fleet     = "fleet"
)

const (
	// historySize is the number of past events that clients can request.
	historySize = 256
	// subscriptionBuffer is the minimum number of events that a subscription can be behind before
	// it is closed.
	subscriptionBuffer = 1024
	// maxSubscriptions is the maximum number of subscriptions of a service. Each can hold 64 KiB in
	// gRPC buffers for a client that does not read.
	maxSubscriptions = 512
)

// Broker distributes events. The zero value is ready to use. It is safe for concurrent use.
type Broker struct {
	mu          sync.Mutex
	history     []Event // oldest first; shared by all subscriptions
	first       uint64  // the number of history[0], counted from the first event
	subscribers map[*Subscription]bool
}

// Subscription is one reader of events.
type Subscription struct {
	broker *Broker
	next   uint64 // the number of the next event
	wake   notify.Signal
}

// Emit adds an event with the current time. It does not block.
func (b *Broker) Emit(kind, action, id string, attributes map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := Event{Time: time.Now(), Type: kind, Action: action, ID: id, Attributes: attributes}
	if len(b.history) == 2*subscriptionBuffer {
		b.history = append(b.history[:0:0], b.history[subscriptionBuffer:]...)
		b.first += subscriptionBuffer
	}

	b.history = append(b.history, e)
	for s := range b.subscribers {
		s.wake.Notify()
	}
}

// Subscribe returns a subscription that starts at a time in the past; the zero time means now.
// Close must be called. It fails if there are too many subscriptions.
func (b *Broker) Subscribe(since time.Time) (*Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subscribers) >= maxSubscriptions {
		return nil, fault.New(fault.Exhausted, "events", "too many subscriptions", fault.WithHint("close some of them"))
	}

	s := &Subscription{broker: b, next: b.first + uint64(len(b.history)), wake: notify.NewSignal()}
	if !since.IsZero() {
		oldest := s.next - uint64(min(len(b.history), historySize))
		for s.next > oldest && !b.history[s.next-1-b.first].Time.Before(since) {
			s.next--
		}
	}
	if b.subscribers == nil {
		b.subscribers = map[*Subscription]bool{}
	}

	b.subscribers[s] = true
	return s, nil
}

// Next waits for the next event. A pending event is returned even if ctx has ended.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := s.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// take returns the next event; ok is false if there is none yet. It fails if the event was already
// discarded.
func (s *Subscription) take() (e Event, ok bool, err error) {
	b := s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s.next < b.first:
		return e, false, fault.New(fault.Exhausted, "events", "event stream closed: client too slow",
			fault.WithHint("retry with --since; the last %d events are kept", historySize))
	case s.next == b.first+uint64(len(b.history)):
		return e, false, nil
	}

	e = b.history[s.next-b.first]
	s.next++
	return e, true, nil
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	delete(s.broker.subscribers, s)
}
