package control

import (
	"container/heap"
	"time"
)

// queue holds the waiting and running keys of a controller. It is not safe for concurrent use.
type queue[K comparable] struct {
	items map[K]*item[K] // all keys that are waiting, running or failed
	order order[K]       // the waiting ones that are not running
}

// item is the state of a key.
type item[K comparable] struct {
	key      K
	due      time.Time // the time of its next call; zero if none
	index    int       // in order; -1 if it is not there
	running  bool
	failures int // consecutive errors
}

func newQueue[K comparable]() queue[K] { return queue[K]{items: map[K]*item[K]{}} }

// add requests a call at a time, or keeps an earlier one.
func (q *queue[K]) add(key K, due time.Time) {
	i := q.items[key]
	if i == nil {
		i = &item[K]{key: key, index: -1}
		q.items[key] = i
	}
	if !i.due.IsZero() && !due.Before(i.due) {
		return
	}

	i.due = due
	switch {
	case i.running: // finish queues it
	case i.index >= 0:
		heap.Fix(&q.order, i.index)
	default:
		heap.Push(&q.order, i)
	}
}

// take returns the earliest key if it is due, and marks it as running. Otherwise it returns the time until the
// earliest one, negative if none is waiting.
func (q *queue[K]) take(now time.Time) (key K, wait time.Duration, ok bool) {
	if len(q.order) == 0 {
		return key, -1, false
	}
	i := q.order[0]
	if wait := i.due.Sub(now); wait > 0 {
		return key, wait, false
	}

	heap.Pop(&q.order)
	i.running, i.due = true, time.Time{}
	return i.key, 0, true
}

// waiting reports whether a key waits that is not running.
func (q *queue[K]) waiting() bool { return len(q.order) > 0 }

// fail records an error of a running key and returns the delay before its next call.
func (q *queue[K]) fail(key K, first, limit time.Duration) time.Duration {
	i := q.items[key]
	delay := first
	for n := 0; n < i.failures && delay < limit; n++ {
		delay *= 2
	}
	i.failures++
	return min(delay, limit)
}

// succeed forgets the errors of a running key.
func (q *queue[K]) succeed(key K) { q.items[key].failures = 0 }

// finish ends the call of a running key. It queues the key if it was added since, and forgets it otherwise.
func (q *queue[K]) finish(key K) {
	i := q.items[key]
	i.running = false
	if i.due.IsZero() {
		delete(q.items, key)
		return
	}
	heap.Push(&q.order, i)
}

// order is a heap of items by due time.
type order[K comparable] []*item[K]

func (o order[K]) Len() int           { return len(o) }
func (o order[K]) Less(i, j int) bool { return o[i].due.Before(o[j].due) }

func (o order[K]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

// Push implements heap.Interface.
func (o *order[K]) Push(x any) {
	i := x.(*item[K])
	i.index = len(*o)
	*o = append(*o, i)
}

// Pop implements heap.Interface.
func (o *order[K]) Pop() any {
	last := len(*o) - 1
	i := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	i.index = -1
	return i
}
