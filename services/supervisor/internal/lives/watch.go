package lives

import "github.com/fairlead/fairlead/services/supervisor/internal/container"

// Watcher receives the events of one container. Each channel keeps the first event that is not
// received yet.
type Watcher struct {
	Begun   chan *Run           // a run begins
	Stopped chan struct{}       // the container does not wait for its restart any more
	Removed chan container.Exit // the container is removed, with the exit of its last run

	close func()
}

// Close ends the watch.
func (w *Watcher) Close() { w.close() }

// Watch watches a container. The caller must close the Watcher.
func (l *Lives) Watch(uid string) *Watcher {
	w := &Watcher{Begun: make(chan *Run, 1), Stopped: make(chan struct{}, 1), Removed: make(chan container.Exit, 1)}
	w.close = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers[uid], w)
		if len(l.watchers[uid]) == 0 {
			delete(l.watchers, uid)
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers[uid] == nil {
		l.watchers[uid] = map[*Watcher]bool{}
	}
	l.watchers[uid][w] = true
	return w
}

// NotifyStopped notifies watchers that a container does not wait for its restart any more.
func (l *Lives) NotifyStopped(uid string) {
	l.each(uid, func(w *Watcher) { offer(w.Stopped, struct{}{}) })
}

// NotifyRemoved notifies watchers that a container is removed.
func (l *Lives) NotifyRemoved(uid string, last container.Exit) {
	l.each(uid, func(w *Watcher) { offer(w.Removed, last) })
}

func (l *Lives) each(uid string, notify func(*Watcher)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watchers[uid] {
		notify(w)
	}
}

// offer sends without blocking.
func offer[T any](to chan T, value T) {
	select {
	case to <- value:
	default:
	}
}
