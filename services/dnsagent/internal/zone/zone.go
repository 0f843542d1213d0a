// Package zone holds the names of all containers on their networks. A container sees only names on
// its own networks.
//
// It performs no I/O. Package resolver implements the DNS protocol and the upstreams. Readers never
// block: they read a snapshot, which a change replaces atomically.
package zone

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Member holds the names of a container on one network.
type Member struct {
	Network     string // network ID
	NetworkName string
	Addresses   []netip.Addr
	Names       []string // the first is the target of PTR records
}

// Container holds everything that the zone stores about a container.
type Container struct {
	Owner   string              // container ID
	Members []Member            // in lookup order
	Aliases map[string][]string // link aliases of this container to their targets; the first existing one is used

	Addresses []netip.Addr // all addresses, including networks without names

	host string // ID of the host of a remote container; empty for one of this host
}

// Zone resolves names of containers. The zero value is empty.
type Zone struct {
	now   atomic.Pointer[snapshot]
	write sync.Mutex // serializes changes

	remote map[string]bool // owners of remote containers; under write
}

// snapshot is the state at one moment. It never changes.
type snapshot struct {
	containers table[string, *Container]
	names      table[nameKey, []nameEntry]
	addresses  table[addressKey, []ptrEntry]
	labels     table[string, int]     // number of registrations of a name without dots, on any network
	assigned   table[netip.Addr, int] // number of containers with an address, on any network
	wildcards  int                    // number of registrations of names such as "*.dev.example"

	hosts map[string]Host // other hosts of the fleet by ID; replaced, never modified
	node  string          // name of this host in the fleet
}

type nameKey struct{ network, name string }

// nameEntry is a container with a name.
type nameEntry struct {
	owner     string
	host      string // empty for this host
	addresses []netip.Addr
}

type addressKey struct {
	network string
	address netip.Addr
}

// ptrEntry is a container with an address.
type ptrEntry struct{ owner, name string }

// snapshot is an immutable state of the zone.
func (z *Zone) snapshot() *snapshot {
	if s := z.now.Load(); s != nil {
		return s
	}
	return &snapshot{}
}

// Put stores a container, replacing its former state. After it returns, no lookup sees the former
// state.
func (z *Zone) Put(c Container) { z.replace(c.Owner, folded(c)) }

// Remove removes a container. It does nothing if the container does not exist.
func (z *Zone) Remove(owner string) { z.replace(owner, nil) }

func (z *Zone) replace(owner string, c *Container) {
	z.write.Lock()
	defer z.write.Unlock()

	next := *z.snapshot()
	before, exists := next.containers.get(owner)
	if c == nil && !exists {
		return
	}

	e := next.edit()
	if exists {
		e.remove(before)
	}

	if c != nil {
		e.add(c)
	}

	z.now.Store(e.done(next))
}

// edit starts a changed copy.
func (s *snapshot) edit() edits {
	wildcards := s.wildcards
	return edits{s.containers.edit(), s.names.edit(), s.addresses.edit(), s.labels.edit(), s.assigned.edit(),
		&wildcards}
}

// done returns the changed copy of a snapshot.
func (e edits) done(s snapshot) *snapshot {
	s.containers, s.names, s.addresses = e.containers.done(), e.names.done(), e.addresses.done()
	s.labels, s.assigned, s.wildcards = e.labels.done(), e.assigned.done(), *e.wildcards
	return &s
}

// edits holds the tables of a snapshot that is being built.
type edits struct {
	containers *edit[string, *Container]
	names      *edit[nameKey, []nameEntry]
	addresses  *edit[addressKey, []ptrEntry]
	labels     *edit[string, int]
	assigned   *edit[netip.Addr, int]
	wildcards  *int
}

func (e edits) add(c *Container) {
	e.containers.put(c.Owner, c)
	e.count(c, 1)
	for _, m := range c.Members {
		for _, n := range m.Names {
			add(e.names, nameKey{m.Network, n}, nameEntry{c.Owner, c.host, m.Addresses})
		}
		if len(m.Names) == 0 {
			continue
		}
		for _, a := range m.Addresses {
			add(e.addresses, addressKey{m.Network, a}, ptrEntry{c.Owner, m.Names[0] + "." + m.NetworkName})
		}
	}
}

func (e edits) remove(c *Container) {
	e.containers.delete(c.Owner)
	e.count(c, -1)
	for _, m := range c.Members {
		for _, n := range m.Names {
			drop(e.names, nameKey{m.Network, n}, func(k nameEntry) bool { return k.owner == c.Owner })
		}
		for _, a := range m.Addresses {
			drop(e.addresses, addressKey{m.Network, a}, func(p ptrEntry) bool { return p.owner == c.Owner })
		}
	}
}

// count adds by to the registration counts of the container's names and addresses.
func (e edits) count(c *Container, by int) {
	for _, a := range c.Addresses {
		tally(e.assigned, a, by)
	}
	for _, m := range c.Members {
		for _, n := range m.Names {
			if !strings.Contains(n, ".") {
				tally(e.labels, n, by)
			}
			if strings.HasPrefix(n, wildcard) {
				*e.wildcards += by
			}
		}
	}
}

func tally[K comparable](e *edit[K, int], key K, by int) {
	before, _ := e.get(key)
	if before+by == 0 {
		e.delete(key)
		return
	}
	e.put(key, before+by)
}

// add appends to a copy of the slice, since the original belongs to the former snapshot.
func add[K comparable, T any](e *edit[K, []T], key K, one T) {
	before, _ := e.get(key)
	e.put(key, append(slices.Clone(before), one))
}

// drop deletes from a copy of the slice, since the original belongs to the former snapshot.
func drop[K comparable, T any](e *edit[K, []T], key K, gone func(T) bool) {
	before, _ := e.get(key)
	if left := slices.DeleteFunc(slices.Clone(before), gone); len(left) > 0 {
		e.put(key, left)
		return
	}
	e.delete(key)
}

// Lookup returns the addresses of a name as seen by a client container, in random order: those of
// this host first, those of lost hosts last. want selects the family.
//
// ok is true if the name exists, even without such an address. If several networks of the client
// have the name, the first with such an address is used.
func (z *Zone) Lookup(client, name string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	s := z.snapshot()
	c, exists := s.containers.get(client)
	if !exists {
		return nil, false
	}

	name = lowerASCII(name)
	targets, private := c.Aliases[name]
	if !private {
		return s.lookup(c, name, want)
	}

	for _, name := range targets {
		if found, ok = s.lookup(c, name, want); ok {
			return found, true
		}
	}

	return nil, false
}

// lookup finds a name, alone or qualified with the name of one of the container's networks or of a
// host.
func (s *snapshot) lookup(c *Container, name string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	if found, ok = s.find(c, name, "", want, anyHost); ok {
		return found, true
	}
	for _, m := range c.Members {
		if bare, fits := strings.CutSuffix(name, "."+lowerASCII(m.NetworkName)); fits {
			if found, ok = s.find(c, bare, m.Network, want, anyHost); ok {
				return found, true
			}
		}
	}
	if bare, on := s.splitHost(name); on != nil {
		return s.find(c, bare, "", want, on)
	}
	return nil, false
}

// find finds a name on the networks of a container, or on one of them, on some hosts.
func (s *snapshot) find(c *Container, name, only string, want func(netip.Addr) bool,
	on func(host string) bool) (found []netip.Addr, ok bool) {
	for _, m := range c.Members {
		if only != "" && m.Network != only {
			continue
		}
		all, _ := s.names.get(nameKey{m.Network, name})
		for _, e := range all {
			ok = ok || on(e.host)
		}
		if found = s.filterShuffle(all, want, on); len(found) > 0 {
			break
		}
	}
	return found, ok
}

// filterShuffle returns the wanted addresses in random order, but those of this host first and those
// of lost hosts last.
func (s *snapshot) filterShuffle(all []nameEntry, want func(netip.Addr) bool,
	on func(host string) bool) []netip.Addr {
	var ranked [lastRank + 1][]netip.Addr
	for _, k := range all {
		if !on(k.host) {
			continue
		}
		rank := s.rank(k.host)
		for _, a := range k.addresses {
			if want(a) {
				ranked[rank] = append(ranked[rank], a)
			}
		}
	}
	for _, same := range ranked {
		rand.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
	}
	return slices.Concat(ranked[:]...)
}

// Reverse returns the name for an address as seen by a client container, for example "web.backend".
// If several containers have the address, the latest is used.
func (z *Zone) Reverse(client string, address netip.Addr) (name string, ok bool) {
	s := z.snapshot()
	c, exists := s.containers.get(client)
	if !exists {
		return "", false
	}
	for _, m := range c.Members {
		if all, _ := s.addresses.get(addressKey{m.Network, address}); len(all) > 0 {
			return all[len(all)-1].name, true
		}
	}
	return "", false
}

// Registered reports whether a name without dots is registered on any network, including those that
// the client cannot see.
func (z *Zone) Registered(name string) bool {
	_, ok := z.snapshot().labels.get(lowerASCII(name))
	return ok
}

// Assigned reports whether a container on any network has an address.
func (z *Zone) Assigned(address netip.Addr) bool {
	_, ok := z.snapshot().assigned.get(address)
	return ok
}

// folded returns a copy with all names in lower case and without duplicates.
func folded(c Container) *Container {
	out := Container{Owner: c.Owner, host: c.host, Aliases: map[string][]string{}}
	all := c.Addresses
	for _, alias := range slices.Sorted(maps.Keys(c.Aliases)) { // they may differ only in case
		for _, name := range c.Aliases[alias] {
			out.Aliases[lowerASCII(alias)] = append(out.Aliases[lowerASCII(alias)], lowerASCII(name))
		}
	}

	for _, m := range c.Members {
		m.Addresses = distinct(m.Addresses, netip.Addr.Unmap)
		m.Names = distinct(m.Names, lowerASCII)
		out.Members = append(out.Members, m)
		all = append(all[:len(all):len(all)], m.Addresses...)
	}

	out.Addresses = distinct(all, netip.Addr.Unmap)
	return &out
}

func distinct[T comparable](list []T, as func(T) T) []T {
	var out []T
	for _, v := range list {
		if v = as(v); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// lowerASCII returns a name in canonical form: without the final dot, and with ASCII letters in
// lower case. DNS ignores case for ASCII only.
func lowerASCII(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.IndexFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return name
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
