// Package zone knows which container has which name on which network, and who may know it: only those on the same network.
//
// It is pure: names in, addresses out. How a question looks on the wire, and whom to ask for names that are not here, is package
// resolver's business. Readers never wait: they read a snapshot, and a change puts a new one in its place at once, whole.
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

// Member is how a container is known on one network.
type Member struct {
	Network     string // its id
	NetworkName string
	Addresses   []netip.Addr
	Names       []string // the first is what addresses are translated to
}

// Container is all that the zone knows of one.
type Container struct {
	Owner   string              // its UID
	Members []Member            // in the order in which names are looked for
	Aliases map[string][]string // names for others that this container alone has, and what they stand for: the first that is found

	Addresses []netip.Addr // all of its addresses, on networks without names too
}

// Zone answers. The zero value knows nobody.
type Zone struct {
	now   atomic.Pointer[snapshot]
	write sync.Mutex // one change at a time
}

// snapshot is the state at one moment. It never changes.
type snapshot struct {
	containers table[string, *Container]
	names      table[nameKey, []nameEntry]
	addresses  table[addressKey, []ptrEntry]
	labels     table[string, int]     // in how many places a name without dots is registered, on any network
	assigned   table[netip.Addr, int] // how many containers have an address, on any network
}

type nameKey struct{ network, name string }

// nameEntry is one container that has a name.
type nameEntry struct {
	owner     string
	addresses []netip.Addr
}

type addressKey struct {
	network string
	address netip.Addr
}

// ptrEntry is one container that has an address.
type ptrEntry struct{ owner, name string }

func (z *Zone) snapshot() *snapshot {
	if s := z.now.Load(); s != nil {
		return s
	}
	return &snapshot{}
}

// Put makes a container known as it is now, in place of how it was known before. When it returns, nobody gets an older answer.
func (z *Zone) Put(c Container) { z.replace(c.Owner, folded(c)) }

// Remove forgets a container. No error if it is not known.
func (z *Zone) Remove(owner string) { z.replace(owner, nil) }

func (z *Zone) replace(owner string, c *Container) {
	z.write.Lock()
	defer z.write.Unlock()
	next := *z.snapshot()
	before, there := next.containers.get(owner)
	if c == nil && !there {
		return
	}
	e := edits{next.containers.edit(), next.names.edit(), next.addresses.edit(), next.labels.edit(), next.assigned.edit()}
	if there {
		e.remove(before)
	}
	if c != nil {
		e.add(c)
	}
	z.now.Store(&snapshot{e.containers.done(), e.names.done(), e.addresses.done(), e.labels.done(), e.assigned.done()})
}

// edits are the tables of a snapshot in the making.
type edits struct {
	containers *edit[string, *Container]
	names      *edit[nameKey, []nameEntry]
	addresses  *edit[addressKey, []ptrEntry]
	labels     *edit[string, int]
	assigned   *edit[netip.Addr, int]
}

func (e edits) add(c *Container) {
	e.containers.put(c.Owner, c)
	e.count(c, 1)
	for _, m := range c.Members {
		for _, n := range m.Names {
			add(e.names, nameKey{m.Network, n}, nameEntry{c.Owner, m.Addresses})
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

// count adds to how often the container's names and addresses are registered.
func (e edits) count(c *Container, by int) {
	for _, a := range c.Addresses {
		tally(e.assigned, a, by)
	}
	for _, m := range c.Members {
		for _, n := range m.Names {
			if !strings.Contains(n, ".") {
				tally(e.labels, n, by)
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

// add and drop make new slices, as the old ones belong to the old snapshot.
func add[K comparable, T any](e *edit[K, []T], key K, one T) {
	before, _ := e.get(key)
	e.put(key, append(slices.Clone(before), one))
}

func drop[K comparable, T any](e *edit[K, []T], key K, gone func(T) bool) {
	before, _ := e.get(key)
	if left := slices.DeleteFunc(slices.Clone(before), gone); len(left) > 0 {
		e.put(key, left)
		return
	}
	e.delete(key)
}

// Lookup finds the addresses that a name stands for as one container sees it, in random order; want chooses the family. The name
// is found though it may have no such address. Where several networks of the asker have the name, the first with such an address
// answers.
func (z *Zone) Lookup(asker, name string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	s := z.snapshot()
	c, there := s.containers.get(asker)
	if !there {
		return nil, false
	}
	name = lowerASCII(name)
	stands, private := c.Aliases[name]
	if !private {
		return s.lookup(c, name, want)
	}
	for _, name := range stands {
		if found, ok = s.lookup(c, name, want); ok {
			return found, true
		}
	}
	return nil, false
}

// lookup finds a name, alone or with that of one of the container's networks behind it.
func (s *snapshot) lookup(c *Container, name string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	if found, ok = s.find(c, name, "", want); ok {
		return found, true
	}
	for _, m := range c.Members {
		if bare, fits := strings.CutSuffix(name, "."+lowerASCII(m.NetworkName)); fits {
			if found, ok = s.find(c, bare, m.Network, want); ok {
				return found, true
			}
		}
	}
	return nil, false
}

// find looks for a name on the networks that a container is on, or on one of them only.
func (s *snapshot) find(c *Container, name, only string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	for _, m := range c.Members {
		if only != "" && m.Network != only {
			continue
		}
		all, _ := s.names.get(nameKey{m.Network, name})
		ok = ok || len(all) > 0
		if found = filterShuffle(all, want); len(found) > 0 {
			break
		}
	}
	return found, ok
}

func filterShuffle(all []nameEntry, want func(netip.Addr) bool) []netip.Addr {
	var out []netip.Addr
	for _, k := range all {
		for _, a := range k.addresses {
			if want(a) {
				out = append(out, a)
			}
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Reverse finds the name of who has an address as one container sees it: "web.backend". If several have it, the latest counts.
func (z *Zone) Reverse(asker string, address netip.Addr) (name string, ok bool) {
	s := z.snapshot()
	c, there := s.containers.get(asker)
	if !there {
		return "", false
	}
	for _, m := range c.Members {
		if all, _ := s.addresses.get(addressKey{m.Network, address}); len(all) > 0 {
			return all[len(all)-1].name, true
		}
	}
	return "", false
}

// Registered reports whether a name without dots is registered on any network, also one that the asker may not know of.
func (z *Zone) Registered(name string) bool {
	_, ok := z.snapshot().labels.get(lowerASCII(name))
	return ok
}

// Assigned reports whether a container on any network has an address.
func (z *Zone) Assigned(address netip.Addr) bool {
	_, ok := z.snapshot().assigned.get(address)
	return ok
}

// folded gives a copy in which all that is compared is in lower case, and counts once.
func folded(c Container) *Container {
	out := Container{Owner: c.Owner, Aliases: map[string][]string{}}
	all := c.Addresses
	for _, alias := range slices.Sorted(maps.Keys(c.Aliases)) { // which may be the same but for their case
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

// lowerASCII makes names that DNS takes for the same be the same. Only ASCII letters have case there.
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
