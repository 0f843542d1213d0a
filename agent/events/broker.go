// Package events is how a service tells those who want to know what happens. Nothing is on disk: who was not there to hear it can ask
// for the last few only. Telling costs the teller next to nothing, however many listen and however slow they are.
package events

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
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
	// remembered is how many events are there for those who ask what has happened.
	remembered = 256
	// waiting is how many events a listener may be behind before it is cut off.
	waiting = 1024
)

// Broker passes events on. The zero value is ready. It is safe for concurrent use.
type Broker struct {
	mu        sync.Mutex
	last      []Event // the last are what is remembered, the oldest first
	listeners map[*Listener]bool
}

// Listener is one who wants to know.
type Listener struct {
	broker *Broker
	past   []Event // that it asked for
	events chan Event
}

// Tell passes an event on, with the time of now. It never waits.
func (b *Broker) Tell(kind, action, id string, attributes map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := Event{Time: time.Now(), Type: kind, Action: action, ID: id, Attributes: attributes}
	if len(b.last) == 2*remembered {
		b.last = append(b.last[:0:0], b.last[remembered:]...)
	}
	b.last = append(b.last, e)
	for l := range b.listeners {
		select {
		case l.events <- e:
		default:
			b.drop(l)
		}
	}
}

// Listen begins to listen, to what has happened since a time, too; the zero time means from now on. Close must be called.
func (b *Broker) Listen(since time.Time) *Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &Listener{broker: b, events: make(chan Event, waiting)}
	if !since.IsZero() {
		for _, e := range b.last[max(0, len(b.last)-remembered):] {
			if !e.Time.Before(since) {
				l.past = append(l.past, e)
			}
		}
	}
	if b.listeners == nil {
		b.listeners = map[*Listener]bool{}
	}
	b.listeners[l] = true
	return l
}

// drop ends a listener's channel. The caller holds the lock.
func (b *Broker) drop(l *Listener) {
	if b.listeners[l] {
		delete(b.listeners, l)
		close(l.events)
	}
}

// Next waits for the next event. What is there already is answered though ctx has ended.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	if len(l.past) > 0 {
		e := l.past[0]
		l.past = l.past[1:]
		return e, nil
	}
	select {
	case e, ok := <-l.events:
		return l.heard(e, ok)
	default:
	}
	select {
	case e, ok := <-l.events:
		return l.heard(e, ok)
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

func (l *Listener) heard(e Event, ok bool) (Event, error) {
	if ok {
		return e, nil
	}
	return e, fault.New(fault.Exhausted, "events", "you read more slowly than things happen and were cut off, to hold up nobody",
		fault.WithHint("ask again, with --since the last that you have got; the last %d events are remembered", remembered))
}

// Close stops listening.
func (l *Listener) Close() {
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	l.broker.drop(l)
}
