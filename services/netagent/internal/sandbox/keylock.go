package sandbox

import "sync"

// keyLock is a lock for each key. It keeps only those that somebody holds or waits for.
type keyLock struct {
	mu   sync.Mutex
	held map[string]*keyHolder
}

type keyHolder struct {
	sync.Mutex
	users int
}

// lock waits for a key's lock and answers what unlocks it.
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

// tryLock is lock if nobody has the key's lock, nor waits for it.
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
