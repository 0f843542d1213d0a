package image

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/image/layers"
)

// Progress tells that a pull moved on: as fairlead.container.v1.Progress says.
type Progress struct {
	Step, Subject string
	Done, Total   int64
}

// reportEvery is how often a layer's bytes are told of.
const reportEvery = 50 * time.Millisecond

// reporter passes progress on, one call at a time, and of each layer's bytes not too often.
type reporter struct {
	mu   sync.Mutex
	to   func(Progress)
	last map[string]told
}

type told struct {
	phase layers.Phase
	at    time.Time
}

func newReporter(to func(Progress)) *reporter {
	if to == nil {
		to = func(Progress) {}
	}
	return &reporter{to: to, last: map[string]told{}}
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
		r.to(Progress{Step: string(p.Phase), Subject: subject, Done: p.Done, Total: p.Total})
	}
}

func (r *reporter) step(step, subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to(Progress{Step: step, Subject: subject})
}
