package api

import (
	"sync"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// quietFor is the delay of the first progress message. Most launches complete earlier and need no
// message.
const quietFor = 150 * time.Millisecond

// progress sends the progress of a launch or pull, one message at a time.
type progress struct {
	mu    sync.Mutex
	send  func(*containerv1.Progress) error
	timer *time.Timer
	held  map[string]*containerv1.Progress // latest message of each subject, until loud
	order []string
	loud  bool
	ended bool
}

// newProgress returns a progress. It sends immediately if steps is set, otherwise after quietFor.
func newProgress(steps bool, send func(*containerv1.Progress) error) *progress {
	p := &progress{send: send, held: map[string]*containerv1.Progress{}, loud: steps}
	p.timer = time.AfterFunc(quietFor, p.flush)
	return p
}

// report sends or keeps one report. Stream errors surface when the call ends.
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

// stop stops sending. The stream then belongs to the caller. It may be called twice.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}
