package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the calling thread.
const threadNS = "/proc/thread-self/ns/net"

// Namespace is an open network namespace. A new one is deleted with its contents when the callback
// returns, unless it was pinned, so a crash leaves no incomplete namespace.
type Namespace struct {
	file   *os.File
	handle *netlink.Handle
}

// NewNamespace creates a namespace with lo up and calls f on a thread in it. The thread exits with
// f.
func NewNamespace(f func(*Namespace) error) error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create network namespace: %w", err)
		}
		return withThread(func(ns *Namespace) error {
			if err := ns.setUp(loopbackIndex); err != nil {
				return fmt.Errorf("set lo up: %w", err)
			}
			return f(ns)
		})
	})
}

// WithPinned calls f on a thread in the namespace pinned at a path.
func WithPinned(path string, f func(*Namespace) error) error {
	return onOwnThread(func() error {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open network namespace: %w", err)
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return withThread(f)
	})
}

// withThread calls f with the namespace of the calling thread.
func withThread(f func(*Namespace) error) error {
	file, err := os.Open(threadNS)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer file.Close()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer handle.Close()
	return f(&Namespace{file: file, handle: handle})
}

// loopbackIndex is the index of lo in every namespace.
const loopbackIndex = 1

func (n *Namespace) setUp(index int) error {
	return retry(func() error {
		return n.handle.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	})
}

// EnableLoopback sets lo up.
func (n *Namespace) EnableLoopback() error { return n.setUp(loopbackIndex) }

// Apply writes sysctls of the namespace. It must be called on the namespace's thread.
func (n *Namespace) Apply(settings []Sysctl) error {
	for _, s := range settings {
		if err := s.write(); err != nil {
			return err
		}
	}
	return nil
}

// ApplyKnown is Apply, but ignores sysctls that the kernel does not have.
func (n *Namespace) ApplyKnown(settings []Sysctl) error {
	for _, s := range settings {
		if err := s.write(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Interface is the desired state of an interface in a container.
type Interface struct {
	Name       string
	Addresses  []netip.Prefix
	Gateways   []netip.Addr // next hops of default routes, at most one for each family
	Routes     []DHCPRoute  // additional routes through the interface
	Neighbours []Neighbour
	// Subnets are reached through a gateway, not on-link.
	Subnets []GatewayRoute
	// IPv6 keeps IPv6 enabled without an IPv6 address.
	IPv6 bool
	// Sysctls are set before the interface comes up.
	Sysctls []Sysctl
}

// Configure adds the addresses of an interface, sets it up, and adds its routes and neighbour
// entries. It disables IPv6 first if the interface has no IPv6 address.
func (n *Namespace) Configure(i Interface) error {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(i.Name) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", i.Name, err)
	}

	index := link.Attrs().Index
	ipv6 := i.IPv6
	for _, p := range i.Addresses {
		ipv6 = ipv6 || p.Addr().Is6()
		if err := addAddress(n.handle, index, p); err != nil {
			return err
		}
	}

	if !ipv6 {
		if err := disableIPv6(i.Name); err != nil {
			return err
		}
	}

	if err := n.Apply(i.Sysctls); err != nil {
		return err
	}

	if err := n.setUp(index); err != nil {
		return fmt.Errorf("set %s up: %w", i.Name, err)
	}

	return n.connect(index, i)
}

// connect adds the routes and neighbour entries, which need an interface that is up.
func (n *Namespace) connect(index int, i Interface) error {
	for _, r := range i.Routes { // first, as the gateways may be reachable through these routes
		if err := n.addRoute(index, r, false); err != nil {
			return err
		}
	}

	if _, err := n.addGatewayRoutes(index, i.Subnets); err != nil {
		return err
	}

	for _, gw := range i.Gateways {
		route := defaultVia(index, gw)
		if err := retry(func() error { return n.handle.RouteAdd(route) }); err != nil {
			return fmt.Errorf("default route via %s: %w", gw, err)
		}
	}

	for _, neighbour := range i.Neighbours {
		if err := putNeighbour(n.handle, index, neighbour); err != nil {
			return err
		}
	}

	return nil
}

// disableIPv6 disables IPv6 on an interface of the thread's namespace. It does nothing on a kernel
// without IPv6.
func disableIPv6(name string) error {
	s := Sysctl{"net/ipv6/conf/" + name + "/disable_ipv6", "1"}
	if err := s.write(); err != nil && !missing(err) {
		return err
	}
	return nil
}
