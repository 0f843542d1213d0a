package dnsagent

import (
	"context"
	"sync"
)

// ownerLock is a keyed lock: it serializes the changes of an owner. The zero value is unlocked.
type ownerLock struct {
	mu    sync.Mutex
	locks map[string]*ownerToken
}

type ownerToken struct {
	token chan struct{}
	users int // holders and waiters; the last one removes it
}

// lock waits for the lock of an owner, or until ctx ends.
func (l *ownerLock) lock(ctx context.Context, owner string) (unlock func(), err error) {
	l.mu.Lock()
	t := l.locks[owner]
	if t == nil {
		if l.locks == nil {
			l.locks = map[string]*ownerToken{}
		}
		t = &ownerToken{token: make(chan struct{}, 1)}
		l.locks[owner] = t
	}

	t.users++
	l.mu.Unlock()
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; l.leave(owner, t) }, nil
	case <-ctx.Done():
		l.leave(owner, t)
		return nil, ctx.Err()
	}
}

func (l *ownerLock) leave(owner string, t *ownerToken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(l.locks, owner)
	}
}
