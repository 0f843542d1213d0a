// Package namespacetest has a keeper of namespaces in memory, for tests without a kernel.
package namespacetest

import (
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// Keeper keeps namespaces in memory. The zero value is empty. It is safe for concurrent use.
type Keeper struct {
	mu   sync.Mutex
	pins map[string]*Namespace
}

// Namespace is a namespace in memory. It has the routes that were set last.
type Namespace struct {
	Interfaces map[string][]netip.Prefix
	Default    []kernel.DefaultRoute
	DHCP       []kernel.DHCPRoute
}

// Addresses implements namespace.Namespace.
func (n *Namespace) Addresses() (map[string][]netip.Prefix, error) { return n.Interfaces, nil }

// DefaultRoutes implements namespace.Namespace.
func (n *Namespace) DefaultRoutes() ([]kernel.DefaultRoute, error) { return n.Default, nil }

// SetDefaultRoutes implements namespace.Namespace.
func (n *Namespace) SetDefaultRoutes(all []kernel.DefaultRoute) error {
	n.Default = all
	return nil
}

// SetDHCPRoutes implements namespace.Namespace.
func (n *Namespace) SetDHCPRoutes(_ []string, all []kernel.DHCPRoute) error {
	n.DHCP = all
	return nil
}

// Pairs implements namespace.Namespace. There are none.
func (n *Namespace) Pairs() ([]kernel.Found, error) { return nil, nil }

// Kernel implements namespace.Namespace. There is no kernel.
func (n *Namespace) Kernel() *kernel.Namespace { return nil }

// Create implements namespace.Keeper.
func (k *Keeper) Create(path string, _, _ []kernel.Sysctl, f func(namespace.Namespace) error) error {
	ns := &Namespace{}
	if err := f(ns); err != nil {
		return err
	}
	k.Pin(path, ns)
	return nil
}

// Pin adds a namespace, as one that a crash or another process left.
func (k *Keeper) Pin(path string, ns *Namespace) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		k.pins = map[string]*Namespace{}
	}
	k.pins[path] = ns
}

// At returns the namespace at a path; nil if there is none.
func (k *Keeper) At(path string) *Namespace {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pins[path]
}

// Adopt implements namespace.Keeper. The namespace at from is pinned at path too.
func (k *Keeper) Adopt(from, path string, _ []kernel.Sysctl) error {
	ns := k.At(from)
	if ns == nil {
		return errors.New("no namespace at " + from)
	}
	k.Pin(path, ns)
	return nil
}

// Within implements namespace.Keeper.
func (k *Keeper) Within(path string, f func(namespace.Namespace) error) error {
	ns := k.At(path)
	if ns == nil {
		return errors.New("no namespace at " + path)
	}
	return f(ns)
}

// Exists reports whether a namespace is pinned at a path.
func (k *Keeper) Exists(path string) bool { return k.At(path) != nil }

// Same reports whether two paths are of one namespace.
func (k *Keeper) Same(a, b string) bool { return k.At(a) == k.At(b) }

// Unpin implements namespace.Keeper.
func (k *Keeper) Unpin(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pins, path)
	return nil
}

// PinProcess implements namespace.Keeper.
func (k *Keeper) PinProcess(_ int, path string) error {
	k.Pin(path, &Namespace{})
	return nil
}

// List implements namespace.Keeper.
func (k *Keeper) List(dir string) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, path := range slices.Sorted(maps.Keys(k.pins)) {
		if filepath.Dir(path) == dir {
			out = append(out, path)
		}
	}
	return out, nil
}
