// Package lives holds the runs of containers and the keyed locks that serialize operations on one
// container. It holds memory only and calls no service. Packages launch, session, follow and run
// use it.
package lives

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Run is one run of a container, from its launch until all of its resources are released. Package
// run describes its end.
type Run struct {
	Launched chan struct{} // closed when the launch has succeeded or failed
	Failed   bool          // readable once Launched is closed

	Ended   chan struct{}  // closed when the process has ended
	Exit    container.Exit // readable once Ended is closed
	ending  sync.Once
	Exited  chan struct{} // closed when names, addresses and ports are released and the exit is visible
	Cleaned chan struct{} // closed when all resources of the run are removed
	Left    error         // readable once Cleaned is closed: the error of the removal
	Refused chan struct{} // closed when the exit cannot be stored yet

	Stopped  atomic.Bool // a stop was requested
	Quit     atomic.Bool // a user ended the process, so that it is not restarted
	Released bool        // names, addresses and ports are released; guarded by the container's lock
	Emitted  bool        // the exit events were emitted; guarded by the container's lock
	Gone     bool        // the removal was reported; guarded by the container's lock
}

// NewRun returns a run that is not launched.
func NewRun() *Run {
	return &Run{Launched: make(chan struct{}), Ended: make(chan struct{}), Exited: make(chan struct{}),
		Cleaned: make(chan struct{}), Refused: make(chan struct{})}
}

// End records the exit of the process. It reports whether the exit is news.
func (l *Run) End(exit container.Exit) (news bool) {
	l.ending.Do(func() {
		l.Exit, news = exit, true
		close(l.Ended)
	})
	return news
}

// IsOver reports whether a channel of a Run is closed.
func IsOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// CloseOnce closes a channel unless it is closed. The container's lock must be held.
func CloseOnce(c chan struct{}) {
	if !IsOver(c) {
		close(c)
	}
}

// Lives holds the current runs and the keyed locks of containers.
type Lives struct {
	mu    sync.Mutex
	byID  map[string]*Run
	locks keylock.Mutex[string] // serialize operations on a container

	watchers map[string]map[*Watcher]bool // by container
}

// New returns Lives without runs.
func New() *Lives { return &Lives{byID: map[string]*Run{}, watchers: map[string]map[*Watcher]bool{}} }

// Begin adds a run.
func (l *Lives) Begin(uid string) *Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := NewRun()
	l.byID[uid] = n
	for w := range l.watchers[uid] {
		offer(w.Begun, n)
	}
	return n
}

// Of returns the current run of a container, nil if there is none.
func (l *Lives) Of(uid string) *Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[uid]
}

// Forget removes a run.
func (l *Lives) Forget(uid string, which *Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[uid] == which {
		delete(l.byID, uid)
	}
}

// Lock waits for the container's lock, or until ctx is done.
func (l *Lives) Lock(ctx context.Context, uid string) (unlock func(), err error) {
	return l.locks.LockContext(ctx, uid)
}
