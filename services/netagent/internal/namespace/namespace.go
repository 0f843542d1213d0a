// Package namespace keeps the pinned network namespaces of containers. It creates, enters, finds and
// unpins them. It does not decide which of them exist: package sandbox calls it.
package namespace

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// Namespace is an open namespace, for the thread that it is passed to.
type Namespace interface {
	// Addresses returns the addresses of the interfaces that are up, by interface name.
	Addresses() (map[string][]netip.Prefix, error)
	DefaultRoutes() ([]kernel.DefaultRoute, error)
	// SetDefaultRoutes replaces the default routes.
	SetDefaultRoutes([]kernel.DefaultRoute) error
	// SetDHCPRoutes replaces the routes received by DHCP on the given interfaces.
	SetDHCPRoutes(interfaces []string, routes []kernel.DHCPRoute) error
	// Pairs returns the container ends of veth pairs.
	Pairs() ([]kernel.Found, error)
	// Kernel returns the namespace for drivers. It is nil in tests without a kernel.
	Kernel() *kernel.Namespace
}

// Keeper creates, enters and unpins namespaces. Suite namespacetest has one without a kernel.
type Keeper interface {
	// Create creates a namespace with these sysctls, calls f in it, and pins it last. The kernel may
	// lack the optional sysctls. If f fails, no namespace remains.
	Create(path string, sysctls, optional []kernel.Sysctl, f func(Namespace) error) error
	// Adopt pins the namespace of another program, sets lo up and writes sysctls, which the kernel may
	// lack. Without sysctls it only pins. from is a path of the namespace.
	Adopt(from, path string, optional []kernel.Sysctl) error
	// Within calls f in a pinned namespace.
	Within(path string, f func(Namespace) error) error
	// Exists reports whether a namespace is pinned at a path.
	Exists(path string) bool
	// Same reports whether two paths are of one namespace.
	Same(a, b string) bool
	// Unpin unpins a namespace. It does nothing if there is none.
	Unpin(path string) error
	// PinProcess pins the namespace of a process.
	PinProcess(pid int, path string) error
	// List returns the paths in a directory, which need not exist.
	List(dir string) ([]string, error)
}

// Host keeps the namespaces of the host's kernel.
type Host struct{}

// opened is a namespace of the kernel.
type opened struct{ *kernel.Namespace }

// Kernel returns the namespace.
func (o opened) Kernel() *kernel.Namespace { return o.Namespace }

// Create implements Keeper.
func (Host) Create(path string, sysctls, optional []kernel.Sysctl, f func(Namespace) error) error {
	return kernel.NewNamespace(func(ns *kernel.Namespace) error {
		if err := errors.Join(ns.Apply(sysctls), ns.ApplyKnown(optional)); err != nil {
			return err
		}
		if err := f(opened{ns}); err != nil {
			return err
		}
		return ns.Pin(path)
	})
}

// Within implements Keeper.
func (Host) Within(path string, f func(Namespace) error) error {
	return kernel.WithPinned(path, func(ns *kernel.Namespace) error { return f(opened{ns}) })
}

// Exists reports whether a namespace is pinned at a path.
func (Host) Exists(path string) bool { return kernel.Pinned(path) }

// Unpin implements Keeper.
func (Host) Unpin(path string) error { return kernel.Unpin(path) }

// List implements Keeper.
func (Host) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths, err
}
