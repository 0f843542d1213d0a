package image

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
)

// Progress tells that a pull moved on: as fairlead.container.v1.Progress says.
type Progress struct {
	Step, Subject string
	Done, Total   int64
}

// reportEvery is how often a layer's bytes are told of.
const reportEvery = 50 * time.Millisecond

// reporter passes progress on by a goroutine of its own, so that a slow listener does not hold up a download that others
// share, and of each layer's bytes not too often. What is overtaken before it was told is left out.
type reporter struct {
	to   func(Progress)
	done chan struct{}

	mu     sync.Mutex
	more   *sync.Cond
	queue  []Progress
	last   map[string]told
	closed bool
}

type told struct {
	phase layers.Phase
	at    time.Time
}

// newReporter starts one; its close must be called. to may be nil.
func newReporter(to func(Progress)) *reporter {
	if to == nil {
		to = func(Progress) {}
	}
	r := &reporter{to: to, done: make(chan struct{}), last: map[string]told{}}
	r.more = sync.NewCond(&r.mu)
	go r.deliver()
	return r
}

// close waits until all is told.
func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	r.more.Signal()
	r.mu.Unlock()
	<-r.done
}

func (r *reporter) deliver() {
	defer close(r.done)
	for {
		r.mu.Lock()
		for len(r.queue) == 0 && !r.closed {
			r.more.Wait()
		}
		batch := r.queue
		r.queue = nil
		r.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, p := range batch {
			r.to(p)
		}
	}
}

// layer gives the function that a layer's progress is told to.
func (r *reporter) layer(subject string) func(layers.Progress) {
	return func(p layers.Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		last, now := r.last[subject], time.Now()
		whole := p.Phase == layers.Downloading && p.Done == p.Total
		if last.phase == p.Phase && now.Sub(last.at) < reportEvery && !whole {
			return
		}
		r.last[subject] = told{p.Phase, now}
		r.put(Progress{Step: string(p.Phase), Subject: subject, Done: p.Done, Total: p.Total})
	}
}

func (r *reporter) step(step, subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(Progress{Step: step, Subject: subject})
}

// put queues a report, in place of one of the same step that still waits.
func (r *reporter) put(p Progress) {
	for i, q := range r.queue {
		if q.Step == p.Step && q.Subject == p.Subject {
			r.queue[i] = p
			return
		}
	}
	r.queue = append(r.queue, p)
	r.more.Signal()
}
