package sandbox

import "sync"

// keyLock is a keyed lock. It stores only locks that are held or waited for.
type keyLock struct {
	mu   sync.Mutex
	held map[string]*keyHolder
}

type keyHolder struct {
	sync.Mutex
	users int
}

// lock waits for the lock of a key and returns a function that unlocks it.
func (k *keyLock) lock(key string) (unlock func()) {
	k.mu.Lock()
	h, ok := k.held[key]
	if !ok {
		h = &keyHolder{}
		k.held[key] = h
	}
	h.users++
	k.mu.Unlock()
	h.Lock()
	return k.unlocker(key, h)
}

// tryLock locks a key unless its lock is held or waited for.
func (k *keyLock) tryLock(key string) (unlock func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[key] != nil {
		return nil, false
	}
	h := &keyHolder{users: 1}
	h.Lock()
	k.held[key] = h
	return k.unlocker(key, h), true
}

func (k *keyLock) unlocker(key string, h *keyHolder) func() {
	return func() {
		h.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(k.held, key)
		}
	}
}
