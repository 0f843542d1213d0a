package lives

import "sync"

// Joins holds the containers that joined the network namespace of another container.
// Joining and leaving require the lock of the namespace's owner, so that no container joins a
// namespace that is being released.
type Joins struct {
	mu    sync.Mutex
	owner map[string]string // by joined container
}

// NewJoins returns Joins without containers.
func NewJoins() *Joins { return &Joins{owner: map[string]string{}} }

// Add records that a container has joined the namespace of owner.
func (j *Joins) Add(uid, owner string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.owner[uid] = owner
}

// Drop removes a joined container and returns its owner, empty if it has joined none.
func (j *Joins) Drop(uid string) (owner string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owner = j.owner[uid]
	delete(j.owner, uid)
	return owner
}

// Any reports whether any container has joined the owner's namespace.
func (j *Joins) Any(owner string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.owner {
		if o == owner {
			return true
		}
	}
	return false
}

// Of returns the containers that joined the owner's namespace.
func (j *Joins) Of(owner string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for uid, o := range j.owner {
		if o == owner {
			out = append(out, uid)
		}
	}
	return out
}
