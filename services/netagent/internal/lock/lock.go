// Package lock holds the locks of netagent. This page is the only one on their order.
//
// A goroutine takes them from top to bottom and never takes one above, or of the same number as, one that it holds:
//
//  1. Edit: one for all changes of networks, their names and their subnets. It is held over calls
//     of natagent and over the update of all sandboxes on a network. Growth takes it, so growth
//     starts without an owner.
//  2. Owner: one for each sandbox. It is held over changes of the kernel and messages on the LAN.
//  3. Network: one for each network, for reading and writing. It is read while an endpoint is attached,
//     so that the spec that its addresses were allocated from stays in effect, and written while a
//     changed spec is stored. The writer calls no other service.
//  4. Device: one for all bridges and parent interfaces. It is held while a network is applied to
//     the host. Its holder takes no other lock, so it never waits for a container.
//
// Below them are the locks of memory: the allocator, the store, caches. They are no part of Set.
// They are held briefly and are never held while one of Set is taken.
package lock

import (
	"slices"
	"sync"

	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/proto/id"
)

// Set holds the locks of one agent.
type Set struct {
	edit     sync.Mutex
	owners   keylock.Mutex[string]
	networks keylock.RWMutex[string]
	device   sync.Mutex
	order    *order // nil: not checked
}

// New returns the locks.
func New() *Set { return &Set{} }

// NewChecked returns locks that panic if they are taken in another order. It is for tests: each
// lock takes microseconds longer.
func NewChecked() *Set { return &Set{order: newOrder()} }

// Edit takes the lock of changes of networks and returns the function that releases it.
func (s *Set) Edit() (unlock func()) {
	done := s.order.take(edit)
	s.edit.Lock()
	return func() { s.edit.Unlock(); done() }
}

// Owner takes the lock of an owner and returns the function that releases it. Owners with the same
// short ID share a lock, because they share the path of a namespace.
func (s *Set) Owner(owner string) (unlock func()) {
	done := s.order.take(ofOwner)
	release := s.owners.Lock(id.Short(owner))
	return func() { release(); done() }
}

// TryOwner takes the lock of an owner if it is neither held nor waited for.
func (s *Set) TryOwner(owner string) (unlock func(), ok bool) {
	release, ok := s.owners.TryLock(id.Short(owner))
	if !ok {
		return nil, false
	}
	done := s.order.take(ofOwner)
	return func() { release(); done() }, true
}

// ReadNetworks takes the locks of networks to attach an endpoint, and returns the function that
// releases them.
func (s *Set) ReadNetworks(networkIDs ...string) (unlock func()) {
	done := s.order.take(network)
	release := s.networks.RLock(slices.Clone(networkIDs)...)
	return func() { release(); done() }
}

// WriteNetwork takes the lock of a network to store a changed spec, and returns the function that
// releases it.
func (s *Set) WriteNetwork(networkID string) (unlock func()) {
	done := s.order.take(network)
	release := s.networks.Lock(networkID)
	return func() { release(); done() }
}

// Device takes the lock of bridges and parent interfaces, and returns the function that releases it.
func (s *Set) Device() (unlock func()) {
	done := s.order.take(device)
	s.device.Lock()
	return func() { s.device.Unlock(); done() }
}
