package run

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// lifecycle is one run of a container, from its launch until all of its resources are released. See
// end.go for its end.
type lifecycle struct {
	launched chan struct{} // closed when the launch has succeeded or failed
	failed   bool          // readable once launched is closed

	ended   chan struct{}  // closed when the process has ended
	exit    container.Exit // readable once ended is closed
	ending  sync.Once
	exited  chan struct{} // closed when names, addresses and ports are released and the exit is visible
	cleaned chan struct{} // closed when all resources of the run are removed
	left    error         // readable once cleaned is closed: the error of the removal
	refused chan struct{} // closed when the exit cannot be stored yet

	stopped  atomic.Bool // a stop was requested
	released bool        // names, addresses and ports are released; guarded by the container's lock
	emitted  bool        // the exit events were emitted; guarded by the container's lock
}

func newLife() *lifecycle {
	return &lifecycle{launched: make(chan struct{}), ended: make(chan struct{}), exited: make(chan struct{}),
		cleaned: make(chan struct{}),
		refused: make(chan struct{})}
}

// end records the exit of the process. news is false if it was recorded before.
func (l *lifecycle) end(exit container.Exit) (news bool) {
	l.ending.Do(func() {
		l.exit, news = exit, true
		close(l.ended)
	})
	return news
}

// isOver reports whether a channel of a lifecycle is closed.
func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeOnce closes a channel unless it is closed. The container's lock must be held.
func closeOnce(c chan struct{}) {
	if !isOver(c) {
		close(c)
	}
}

// lifecycles holds the current runs and the keyed locks of containers.
type lifecycles struct {
	mu    sync.Mutex
	byID  map[string]*lifecycle
	locks map[string]*lock
}

// lock serializes operations on a container.
type lock struct {
	token chan struct{}
	users int // holders and waiters; the last one deletes the lock
}

func newLives() *lifecycles {
	return &lifecycles{byID: map[string]*lifecycle{}, locks: map[string]*lock{}}
}

// begin adds a run.
func (l *lifecycles) begin(uid string) *lifecycle {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := newLife()
	l.byID[uid] = n
	return n
}

// of returns the current run of a container, nil if there is none.
func (l *lifecycles) of(uid string) *lifecycle {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[uid]
}

// end removes a run.
func (l *lifecycles) end(uid string, which *lifecycle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[uid] == which {
		delete(l.byID, uid)
	}
}

// lock waits for the container's lock, or until ctx is done.
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

// reservations holds names that launches have reserved and not stored yet.
type reservations struct {
	mu    sync.Mutex
	names map[string]bool
}

func newReservations() *reservations { return &reservations{names: map[string]bool{}} }

// take reserves a name. It returns false if the name is already reserved.
func (r *reservations) take(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[name] {
		return false
	}
	r.names[name] = true
	return true
}

// drop releases a name.
func (r *reservations) drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}
