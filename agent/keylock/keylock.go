// Package keylock contains locks by key: a Mutex, an RWMutex, and Single, a lock without a key. Waiting for a Mutex or
// a Single can be canceled by a context.
//
// Locks are created on demand and deleted when they are neither held nor waited for, so unused keys occupy no memory.
// Waiters get a Mutex in the order of their calls.
//
// Use sync.Mutex for a lock that is held only briefly, to protect memory. The services use this package to serialize
// operations on an owner or a network. It is not for locks between processes.
package keylock

import (
	"context"
	"sync"
	"sync/atomic"
)

// Mutex is a mutex for each key. The zero value is ready to use. It must not be copied after first use.
type Mutex[K comparable] struct {
	mu    sync.Mutex
	locks map[K]*holder
}

// holder is the lock of one key.
type holder struct {
	lock  Single
	users int // holders and waiters; the last one deletes the lock
}

// Lock waits for the lock of a key and returns the function that releases it.
func (m *Mutex[K]) Lock(key K) (unlock func()) {
	unlock, _ = m.LockContext(context.Background(), key) // does not fail
	return unlock
}

// LockContext waits for the lock of a key and returns the function that releases it. If ctx ends first, it returns
// the error of ctx. An ended ctx returns its error even if the lock is free.
func (m *Mutex[K]) LockContext(ctx context.Context, key K) (unlock func(), err error) {
	h := m.enter(key)
	release, err := h.lock.LockContext(ctx)
	if err != nil {
		m.leave(key, h)
		return nil, err
	}

	return func() { release(); m.leave(key, h) }, nil
}

// TryLock locks a key if its lock is neither held nor waited for. It does not wait.
func (m *Mutex[K]) TryLock(key K) (unlock func(), ok bool) {
	m.mu.Lock()
	if m.locks[key] != nil {
		m.mu.Unlock()
		return nil, false
	}
	h := m.add(key)
	release, _ := h.lock.TryLock() // does not fail: the lock is new, and mu is held
	m.mu.Unlock()

	return func() { release(); m.leave(key, h) }, true
}

// enter returns the lock of a key, with one more user.
func (m *Mutex[K]) enter(key K) *holder {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.locks[key]; h != nil {
		h.users++
		return h
	}
	return m.add(key)
}

// add adds the lock of a key, with one user. mu must be held.
func (m *Mutex[K]) add(key K) *holder {
	if m.locks == nil {
		m.locks = map[K]*holder{}
	}
	h := &holder{lock: NewSingle(), users: 1}
	m.locks[key] = h
	return h
}

func (m *Mutex[K]) leave(key K, h *holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(m.locks, key)
	}
}

// Single is a lock without a key. It must be created by NewSingle. Copies are the same lock.
type Single struct {
	token chan struct{} // holds a token while the lock is held
}

// NewSingle returns a free lock.
func NewSingle() Single { return Single{token: make(chan struct{}, 1)} }

// LockContext waits for the lock and returns the function that releases it. If ctx ends first, it returns the error of
// ctx. An ended ctx returns its error even if the lock is free.
func (s Single) LockContext(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	select {
	case s.token <- struct{}{}:
		return s.unlocker(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TryLock takes the lock if it is free. It does not wait.
func (s Single) TryLock() (unlock func(), ok bool) {
	select {
	case s.token <- struct{}{}:
		return s.unlocker(), true
	default:
		return nil, false
	}
}

// unlocker returns the function that releases the lock. A second call panics: it would release the lock of another
// holder.
func (s Single) unlocker() func() {
	var released atomic.Bool
	return func() {
		if released.Swap(true) {
			panic("keylock: unlock of an unlocked lock")
		}
		<-s.token
	}
}
