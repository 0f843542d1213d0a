package keylock

import (
	"cmp"
	"slices"
	"sync"
)

// RWMutex is a sync.RWMutex for each key. The zero value is ready to use. It must not be copied after first use.
//
// As with sync.RWMutex, a waiting writer blocks new readers. A goroutine that holds the read lock of a key must not
// take it again.
type RWMutex[K cmp.Ordered] struct {
	mu    sync.Mutex
	locks map[K]*rwHolder
}

type rwHolder struct {
	sync.RWMutex
	users int // holders and waiters; the last one deletes the lock
}

// Lock waits for the write lock of a key and returns the function that releases it.
func (m *RWMutex[K]) Lock(key K) (unlock func()) {
	h := m.enter(key)
	h.Lock()
	return func() { h.Unlock(); m.leave(key, h) }
}

// RLock waits for the read locks of all given keys and returns the function that releases them. It takes them in the
// order of the keys, so that calls with the same keys do not wait for each other in a circle. A key can be given twice.
func (m *RWMutex[K]) RLock(keys ...K) (unlock func()) {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	keys = slices.Compact(keys)

	held := make([]*rwHolder, len(keys))
	for i, key := range keys {
		held[i] = m.enter(key)
		held[i].RLock()
	}

	return func() {
		for i, key := range keys {
			held[i].RUnlock()
			m.leave(key, held[i])
		}
	}
}

// enter returns the lock of a key, with one more user.
func (m *RWMutex[K]) enter(key K) *rwHolder {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.locks[key]
	if h == nil {
		if m.locks == nil {
			m.locks = map[K]*rwHolder{}
		}
		h = &rwHolder{}
		m.locks[key] = h
	}
	h.users++
	return h
}

func (m *RWMutex[K]) leave(key K, h *rwHolder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(m.locks, key)
	}
}
