package lives

import "sync"

// Names holds names that launches have reserved and not stored yet.
type Names struct {
	mu    sync.Mutex
	names map[string]bool
}

// NewNames returns Names without reservations.
func NewNames() *Names { return &Names{names: map[string]bool{}} }

// Take reserves a name. It reports whether the name was free.
func (r *Names) Take(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[name] {
		return false
	}
	r.names[name] = true
	return true
}

// Drop releases a name.
func (r *Names) Drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}
