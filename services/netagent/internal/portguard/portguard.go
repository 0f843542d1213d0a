// Package portguard drops frames of containers with spoofed addresses. The bridge driver calls it.
//
// It owns two nftables tables named fairlead-ports. natagent owns all other rules of the host.
// These are here because only netagent has their data (port, MAC and addresses of each endpoint),
// because they must be in force before the port comes up, and because a launch must not wait for
// another service.
//
//   - family bridge: frames from a guarded port pass only if their source MAC and source address (IPv4,
//     IPv6, ARP sender, neighbour advertisement target) were allocated to that port. Router
//     advertisements, redirects and DHCP server messages are dropped, and so are protocols other than
//     IPv4, IPv6 and ARP.
//   - family inet: a new connection that is forwarded to a subnet of a guarded bridge passes only if
//     its destination exists, so that a scan creates no neighbour entries. Containers of an internal
//     network reach no host address except those of their bridge.
//
// Both work with either firewall backend of natagent. Without nftables in the kernel, the bridge's
// own port flags remain (locked ports and static FDB entries, package kernel).
//
// The package keeps the requested state in memory and writes differences in one transaction. If the
// kernel refuses a difference, it rebuilds both tables in one transaction.
package portguard

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// TableName is the prefix of the names of both tables.
const TableName = "fairlead-ports"

// Port is a bridge port with the addresses allowed behind it.
type Port struct {
	Name      string // the host end
	Bridge    string
	MACs      []net.HardwareAddr // more than one while the MAC changes
	Addresses []netip.Addr
	Allowed   []netip.Prefix // additional source addresses, for containers that forward packets
}

// Bridge is a bridge with guarded ports.
type Bridge struct {
	Name     string
	Internal bool           // containers reach only the bridge's own addresses of the host
	Subnets  []netip.Prefix // connections to these are forwarded only to addresses of ports
}

// Guard writes the tables of one network namespace. It is safe for concurrent use.
type Guard struct {
	mu      sync.Mutex
	socket  *socket
	tables  tables
	built   bool
	missing error // why the kernel cannot hold the tables, or nil

	ports   map[string]Port
	bridges map[string]Bridge
	count   map[element]int // number of ports and bridges that need each element in the kernel
	prints  []byte          // fingerprint of the tables as written
}

// Open opens a guard in the namespace of a file; an empty path selects that of the process. suffix
// distinguishes several agents in one namespace and may be empty. Open does not change the tables.
func Open(nsPath, suffix string) (*Guard, error) {
	s, err := openSocket(nsPath)
	if err != nil {
		return nil, fmt.Errorf("netfilter socket: %w", err)
	}
	g := &Guard{socket: s, ports: map[string]Port{}, bridges: map[string]Bridge{}, count: map[element]int{}}
	g.tables.name = TableName + suffix
	g.tables.flags, g.missing = g.probe()
	return g, nil
}

// Close closes the socket. The tables stay.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	return g.socket.close()
}

// Missing returns why the kernel cannot hold the tables, or nil.
func (g *Guard) Missing() error {
	if g == nil {
		return nil
	}
	return g.missing
}

// PortID returns the netlink port ID of the guard's own transactions.
func (g *Guard) PortID() uint32 { return g.socket.port }

// Load replaces all ports and bridges. It writes only if the tables differ.
func (g *Guard) Load(bridges []Bridge, ports []Port) (changed bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ports, g.bridges = map[string]Port{}, map[string]Bridge{}
	for _, b := range bridges {
		g.bridges[b.Name] = b
	}
	for _, p := range ports {
		g.ports[p.Name] = p
	}
	return g.repair()
}

// PutPort adds or changes a port.
func (g *Guard) PutPort(p Port) error {
	return g.change(func() (gone, fresh []element) {
		gone = elementsOfPort(g.ports[p.Name])
		g.ports[p.Name] = p
		return gone, elementsOfPort(p)
	})
}

// DropPorts removes the elements of ports. It does nothing for ports that do not exist.
func (g *Guard) DropPorts(names ...string) error {
	return g.change(func() (gone, _ []element) {
		for _, name := range names {
			gone = append(gone, elementsOfPort(g.ports[name])...)
			delete(g.ports, name)
		}
		return gone, nil
	})
}

// PutBridge adds or changes a bridge.
func (g *Guard) PutBridge(b Bridge) error {
	return g.change(func() (gone, fresh []element) {
		gone = elementsOfBridge(g.bridges[b.Name])
		g.bridges[b.Name] = b
		return gone, elementsOfBridge(b)
	})
}

// DropBridge removes a bridge. It does nothing if the bridge does not exist.
func (g *Guard) DropBridge(name string) error {
	return g.change(func() (gone, _ []element) {
		gone = elementsOfBridge(g.bridges[name])
		delete(g.bridges, name)
		return gone, nil
	})
}

// MACs returns the MACs that may be behind a port.
func (g *Guard) MACs(port string) []net.HardwareAddr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.ports[port].MACs)
}

// change applies the difference between the elements that edit returns.
func (g *Guard) change(edit func() (gone, fresh []element)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	gone, fresh := edit()
	if g.missing != nil {
		return nil
	}

	if !g.built && len(g.ports)+len(g.bridges) == 0 {
		return nil
	}

	if !g.built {
		_, err := g.repair()
		return err
	}

	add, remove := g.recount(gone, fresh)
	if len(add)+len(remove) == 0 {
		return nil
	}

	if g.send(g.tables.elements(remove, add)) == nil {
		return nil
	}

	return g.rebuild() // another program has changed the tables
}

// recount updates the counts and returns the elements to add and to remove.
func (g *Guard) recount(gone, fresh []element) (add, remove []element) {
	touched := map[element]int{} // with the previous counts
	step := func(e element, by int) {
		if _, ok := touched[e]; !ok {
			touched[e] = g.count[e]
		}
		if g.count[e] += by; g.count[e] == 0 {
			delete(g.count, e)
		}
	}
	for _, e := range fresh {
		step(e, 1)
	}

	for _, e := range gone {
		step(e, -1)
	}

	for e, before := range touched {
		switch now := g.count[e]; {
		case before == 0 && now > 0:
			add = append(add, e)
		case before > 0 && now == 0:
			remove = append(remove, e)
		}
	}

	return add, remove
}

// Sync compares the tables with the requested state and repairs them. It reports whether it had to.
func (g *Guard) Sync() (changed bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tables.flags&tableOwner != 0 && g.built {
		return false, nil // no other program can change them
	}
	if len(g.ports)+len(g.bridges) == 0 && !g.built {
		return false, nil
	}
	return g.repair()
}

// repair rebuilds the tables unless they are correct. mu must be held.
func (g *Guard) repair() (changed bool, err error) {
	if g.missing != nil {
		return false, nil
	}

	g.count = map[element]int{}
	for _, p := range g.ports {
		g.recount(nil, elementsOfPort(p))
	}

	for _, b := range g.bridges {
		g.recount(nil, elementsOfBridge(b))
	}

	prints, elements, err := g.read()
	if err == nil && g.right(prints, elements) {
		return false, g.claim()
	}

	return true, g.rebuild()
}

// right reports whether the tables in the kernel are correct.
func (g *Guard) right(prints []byte, elements map[element]bool) bool {
	if g.prints == nil { // written by an earlier process, which left its version
		if !bytes.Contains(prints, version()) {
			return false
		}
	} else if !bytes.Equal(prints, g.prints) {
		return false
	}

	if len(elements) != len(g.count) {
		return false
	}

	for e := range g.count {
		if !elements[e] {
			return false
		}
	}

	return true
}

// claim takes ownership of tables that an earlier process has written.
func (g *Guard) claim() error {
	if g.built {
		return nil
	}
	if err := g.send(g.tables.create()); err != nil {
		return g.rebuild()
	}
	return g.written()
}

// rebuild writes both tables in one transaction.
func (g *Guard) rebuild() error {
	g.built = false
	all := make([]element, 0, len(g.count))
	for e := range g.count {
		all = append(all, e)
	}

	skeleton, err := g.tables.replace()
	if err != nil {
		return fmt.Errorf("nftables tables %s: %w", g.tables.name, err)
	}

	if err := g.send(slices.Concat(skeleton, g.tables.elements(nil, all))); err != nil {
		return fmt.Errorf("nftables tables %s: %w", g.tables.name, err)
	}

	return g.written()
}

// written stores the fingerprint of the tables.
func (g *Guard) written() error {
	g.built = true
	prints, _, err := g.read()
	g.prints = prints
	return err
}

// Remove deletes both tables.
func (g *Guard) Remove() error {
	if g == nil {
		return nil
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	g.ports, g.bridges, g.count = map[string]Port{}, map[string]Bridge{}, map[element]int{}
	g.built, g.prints = false, nil
	if g.missing != nil {
		return nil
	}

	err := g.send(g.tables.remove())
	if errors.Is(err, unix.ENOENT) {
		return nil
	}

	return err
}
