package run

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// lifecycle is one run of a container, from its launch until everything that it had is released. See end.go for how it ends.
type lifecycle struct {
	launched chan struct{} // closed when the launch has succeeded or failed
	failed   bool          // readable once launched is closed

	ended   chan struct{}  // closed when the process has ended
	exit    container.Exit // readable once ended is closed
	ending  sync.Once
	exited  chan struct{} // closed when its name, address and ports are free again and everybody reads that it has exited
	cleaned chan struct{} // closed when nothing of the run is left
	left    error         // readable once cleaned is closed: what could not be removed
	refused chan struct{} // closed when the store has refused the exit; cleaned waits until it does not

	stopped  atomic.Bool // its end was requested
	released bool        // names, addresses and ports were; the container's lock guards it
	told     bool        // as released: the events of its end were sent
}

func newLife() *lifecycle {
	return &lifecycle{launched: make(chan struct{}), ended: make(chan struct{}), exited: make(chan struct{}), cleaned: make(chan struct{}),
		refused: make(chan struct{})}
}

// end notes that the process has ended, and reports whether that is news.
func (l *lifecycle) end(exit container.Exit) (news bool) {
	l.ending.Do(func() {
		l.exit, news = exit, true
		close(l.ended)
	})
	return news
}

// isOver reports whether a channel of a life is closed.
func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeOnce closes a channel that the container's lock guards.
func closeOnce(c chan struct{}) {
	if !isOver(c) {
		close(c)
	}
}

// lifecycles are the runs that go on now, and a lock for each container that is being worked on.
type lifecycles struct {
	mu    sync.Mutex
	byID  map[string]*lifecycle
	locks map[string]*lock
}

// lock is held by one operation on a container at a time.
type lock struct {
	token chan struct{}
	users int // holders and waiters; the lock is forgotten with the last one
}

func newLives() *lifecycles {
	return &lifecycles{byID: map[string]*lifecycle{}, locks: map[string]*lock{}}
}

// begin notes a new run.
func (l *lifecycles) begin(uid string) *lifecycle {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := newLife()
	l.byID[uid] = n
	return n
}

// of gives the run that goes on, nil without one.
func (l *lifecycles) of(uid string) *lifecycle {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[uid]
}

// end forgets a run.
func (l *lifecycles) end(uid string, which *lifecycle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[uid] == which {
		delete(l.byID, uid)
	}
}

// lock waits until no other operation works on the container, or ctx ends.
func (l *lifecycles) lock(ctx context.Context, uid string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.locks[uid]
	if k == nil {
		k = &lock{token: make(chan struct{}, 1)}
		l.locks[uid] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.locks, uid)
		}
	}
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// reservations are names that launches have taken and not stored yet.
type reservations struct {
	mu    sync.Mutex
	names map[string]bool
}

func newReservations() *reservations { return &reservations{names: map[string]bool{}} }

// take reserves a name, and tells whether it was free.
func (r *reservations) take(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[name] {
		return false
	}
	r.names[name] = true
	return true
}

// drop gives a name back.
func (r *reservations) drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}
