package layers

import (
	"context"
	"sync"
)

// inFlight shares one download among concurrent callers that need the same layer.
type inFlight struct {
	mu  sync.Mutex
	now map[string]*flight
}

// flight is pending work. It continues while a caller waits for it and is canceled when the last
// one leaves.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // readable once done is closed

	mu       sync.Mutex
	watchers map[int]func(Progress)
	waiting  int
	next     int
}

// do runs work, or waits for the same work if it already runs. own reports whether this call
// started it. If ctx is done first, do returns immediately. The last caller to leave cancels the
// work and waits until it has stopped.
func (g *inFlight) do(ctx context.Context, key string, report func(Progress),
	work func(context.Context, func(Progress)) error) (own bool, err error) {
	f, seat, own := g.join(ctx, key, report, work)
	select {
	case <-f.done:
		f.leave(seat)
		return own, f.err
	case <-ctx.Done():
		if f.leave(seat) {
			f.cancel()
			<-f.done
		}
		return own, context.Cause(ctx)
	}
}

func (g *inFlight) join(ctx context.Context, key string, report func(Progress),
	work func(context.Context, func(Progress)) error) (f *flight, seat int, own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f = g.now[key]
	if f == nil {
		f, own = &flight{done: make(chan struct{}), watchers: map[int]func(Progress){}}, true
		var wctx context.Context
		wctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if g.now == nil {
			g.now = map[string]*flight{}
		}
		g.now[key] = f
		defer func() { go g.run(wctx, key, f, work) }()
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	seat = f.next
	f.next++
	f.waiting++
	f.watchers[seat] = report
	return f, seat, own
}

func (g *inFlight) run(ctx context.Context, key string, f *flight, work func(context.Context, func(Progress)) error) {
	defer f.cancel()
	f.err = work(ctx, f.report)
	g.mu.Lock()
	delete(g.now, key)
	g.mu.Unlock()
	close(f.done)
}

// leave removes a caller and reports whether it was the last one. A caller that joins later can see
// the work canceled, and tries again.
func (f *flight) leave(seat int) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, seat)
	f.waiting--
	return f.waiting == 0
}

func (f *flight) report(p Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watchers {
		w(p)
	}
}
