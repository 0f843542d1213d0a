package api

import (
	"sync"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// quietFor is how long a launch says nothing: most are over by then, and every message costs them time.
const quietFor = 150 * time.Millisecond

// progress sends what a launch or a pull reports, one message at a time.
type progress struct {
	mu    sync.Mutex
	send  func(*containerv1.Progress) error
	timer *time.Timer
	held  map[string]*containerv1.Progress // the latest of each subject, while quiet
	order []string
	loud  bool
	ended bool
}

// newProgress sends each report at once if the client wants to see the steps; otherwise none of a call that is over soon.
func newProgress(steps bool, send func(*containerv1.Progress) error) *progress {
	p := &progress{send: send, held: map[string]*containerv1.Progress{}, loud: steps}
	p.timer = time.AfterFunc(quietFor, p.flush)
	return p
}

// report takes one report. Errors of the stream show when the call ends.
func (p *progress) report(in image.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &containerv1.Progress{Step: in.Step, Subject: in.Subject, Done: in.Done, Total: in.Total}
	switch {
	case p.ended:
	case p.loud:
		_ = p.send(m)
	default:
		if p.held[in.Subject] == nil {
			p.order = append(p.order, in.Subject)
		}
		p.held[in.Subject] = m
	}
}

func (p *progress) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.loud {
		return
	}
	p.loud = true
	for _, subject := range p.order {
		_ = p.send(p.held[subject])
	}
}

// stop ends the reports; after it, the stream is the caller's alone. It may be called twice.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}
