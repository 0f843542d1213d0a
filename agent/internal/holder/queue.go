package holder

import "sync"

// queue runs functions one at a time and in order. Adding a function does not block.
type queue struct {
	mu      sync.Mutex
	waiting []func()
	running bool
	closed  bool
	idle    *sync.Cond
}

func newQueue() *queue {
	q := &queue{}
	q.idle = sync.NewCond(&q.mu)
	return q
}

// add reports whether the function was queued. It is false if the queue is closed.
func (q *queue) add(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, f)
	if !q.running {
		q.running = true
		go q.run()
	}
	return true
}

func (q *queue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		f := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		f()
		q.mu.Lock()
	}
	q.running = false
	q.idle.Broadcast()
}

// close waits until all functions have run.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.running {
		q.idle.Wait()
	}
}
