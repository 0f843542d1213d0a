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

// Namespace is a network namespace to work in. A new one is gone with everything in it when the function that got it returns,
// unless it was pinned: a crash leaves nothing half-made behind.
type Namespace struct {
	file   *os.File
	handle *netlink.Handle
}

// NewNamespace makes a namespace with lo up and hands it to f, on a thread that is in it and that ends with f.
func NewNamespace(f func(*Namespace) error) error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		return withThread(func(ns *Namespace) error {
			if err := ns.setUp(loopbackIndex); err != nil {
				return fmt.Errorf("set lo up: %w", err)
			}
			return f(ns)
		})
	})
}

// WithPinned hands the namespace that is pinned at a path to f, on a thread that is in it. It stays as f leaves it.
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

// withThread hands the namespace of the calling thread to f.
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

// loopbackIndex is lo's index in every namespace.
const loopbackIndex = 1

func (n *Namespace) setUp(index int) error {
	return retry(func() error {
		return n.handle.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	})
}

// Apply writes sysctls of the namespace.
func (n *Namespace) Apply(settings []Sysctl) error {
	for _, s := range settings {
		if err := s.write(); err != nil {
			return err
		}
	}
	return nil
}

// ApplyKnown is Apply without those that the kernel does not have.
func (n *Namespace) ApplyKnown(settings []Sysctl) error {
	for _, s := range settings {
		if err := s.write(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Interface is how an interface inside shall be.
type Interface struct {
	Name       string
	Addresses  []netip.Prefix
	Gateways   []netip.Addr // default routes, at most one a family
	Routes     []DHCPRoute  // others, by it
	Neighbours []Neighbour
	// IPv6 leaves IPv6 switched on although there is no address of it.
	IPv6 bool
	// Sysctls are its own parameters. They are set before it comes up.
	Sysctls []Sysctl
}

// Configure gives an interface its addresses, brings it up, and adds its routes and neighbours. Without an IPv6 address IPv6 is
// switched off on it before it comes up.
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

// connect adds what needs the interface to be up.
func (n *Namespace) connect(index int, i Interface) error {
	for _, r := range i.Routes { // first, as the gateways may be where they lead
		if err := n.addRoute(index, r, false); err != nil {
			return err
		}
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

// disableIPv6 switches IPv6 off on an interface of the thread's namespace. A kernel without IPv6 has nothing to switch off.
func disableIPv6(name string) error {
	s := Sysctl{"net/ipv6/conf/" + name + "/disable_ipv6", "1"}
	if err := s.write(); err != nil && !missing(err) {
		return err
	}
	return nil
}
