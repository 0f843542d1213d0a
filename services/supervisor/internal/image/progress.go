package image

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
)

// Progress is the progress of a pull, as in fairlead.container.v1.Progress.
type Progress struct {
	Step, Subject string
	Done, Total   int64
}

// reportEvery is the minimum interval between reports on a layer's bytes.
const reportEvery = 50 * time.Millisecond

// reporter delivers progress from its own goroutine. A slow client therefore does not delay a
// shared download. The reporter limits the rate of reports per layer and drops reports that are
// superseded before delivery.
type reporter struct {
	to   func(Progress)
	done chan struct{}

	mu     sync.Mutex
	more   *sync.Cond
	idle   *sync.Cond
	busy   bool // deliver is calling to
	queue  []Progress
	last   map[string]sent
	closed bool
}

type sent struct {
	phase layers.Phase
	at    time.Time
}

// newReporter starts a reporter. The caller must call close. to may be nil.
func newReporter(to func(Progress)) *reporter {
	if to == nil {
		to = func(Progress) {}
	}
	r := &reporter{to: to, done: make(chan struct{}), last: map[string]sent{}}
	r.more, r.idle = sync.NewCond(&r.mu), sync.NewCond(&r.mu)
	go r.deliver()
	return r
}

// close waits until all reports are delivered.
func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	r.more.Signal()
	r.mu.Unlock()
	<-r.done
}

// wait returns when all reports so far are delivered.
func (r *reporter) wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 || r.busy {
		r.idle.Wait()
	}
}

func (r *reporter) deliver() {
	defer close(r.done)
	for {
		r.mu.Lock()
		for len(r.queue) == 0 && !r.closed {
			r.more.Wait()
		}
		batch := r.queue
		r.queue, r.busy = nil, true
		r.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, p := range batch {
			r.to(p)
		}

		r.mu.Lock()
		r.busy = false
		r.idle.Broadcast()
		r.mu.Unlock()
	}
}

// layer returns the progress function of a layer.
func (r *reporter) layer(subject string) func(layers.Progress) {
	return func(p layers.Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		last, now := r.last[subject], time.Now()
		whole := p.Phase == layers.Downloading && p.Done == p.Total
		if last.phase == p.Phase && now.Sub(last.at) < reportEvery && !whole {
			return
		}
		r.last[subject] = sent{p.Phase, now}
		r.put(Progress{Step: string(p.Phase), Subject: subject, Done: p.Done, Total: p.Total})
	}
}

func (r *reporter) step(step, subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(Progress{Step: step, Subject: subject})
}

// put queues a report. It replaces a queued report of the same step.
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
