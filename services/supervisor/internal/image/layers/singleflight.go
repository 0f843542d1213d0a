package layers

import (
	"context"
	"sync"
)

// inFlight lets those who want the same layer at the same time share one download.
type inFlight struct {
	mu  sync.Mutex
	now map[string]*flight
}

// flight is work under way. It goes on while anyone waits for it, and is cut off when the last one leaves.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	mu       sync.Mutex
	watchers map[int]func(Progress)
	waiting  int
	next     int
}

// do runs work, or waits for the same work that runs already. led tells which of the two it was. When ctx ends before the
// work, do leaves at once, except that the last one to leave sees the work come to its end, so that nothing is left running.
func (g *inFlight) do(ctx context.Context, key string, report func(Progress), work func(context.Context, func(Progress)) error) (led bool, err error) {
	f, seat, led := g.join(ctx, key, report, work)
	select {
	case <-f.done:
		f.leave(seat)
		return led, f.err
	case <-ctx.Done():
		if f.leave(seat) {
			f.cancel()
			<-f.done
		}
		return led, context.Cause(ctx)
	}
}

func (g *inFlight) join(ctx context.Context, key string, report func(Progress), work func(context.Context, func(Progress)) error) (f *flight, seat int, led bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f = g.now[key]
	if f == nil {
		f, led = &flight{done: make(chan struct{}), watchers: map[int]func(Progress){}}, true
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
	return f, seat, led
}

func (g *inFlight) run(ctx context.Context, key string, f *flight, work func(context.Context, func(Progress)) error) {
	defer f.cancel()
	f.err = work(ctx, f.tell)
	g.mu.Lock()
	delete(g.now, key)
	g.mu.Unlock()
	close(f.done)
}

// leave tells whether this was the last one. Who boards after that may see the work cut off, and tries again.
func (f *flight) leave(seat int) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, seat)
	f.waiting--
	return f.waiting == 0
}

func (f *flight) tell(p Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watchers {
		w(p)
	}
}
