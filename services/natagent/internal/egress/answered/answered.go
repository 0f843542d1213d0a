// Package answered has the addresses that the name server answered to a container: for which name, in
// which groups of rules they are open, and how long. It is pure. Package egress keeps a Book for each
// container with a policy, and writes the changes to the kernel.
package answered

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
)

// Limits of learned addresses.
const (
	// grace is added to the TTL of an answer: clients connect a moment after the answer.
	grace = time.Minute
	// slack is the part of the grace that remains with every answer.
	slack = grace / 2
	// maxTTL bounds the TTL of an answer.
	maxTTL = 24 * time.Hour
	// maxLearned bounds the addresses of one container. The first ones of an answer are learned.
	maxLearned = 4096
	// maxNames bounds the names of one address. The last ones are kept.
	maxNames = 64
)

// Open is an address that is open for a group of rules.
type Open struct {
	Group int
	Addr  netip.Addr
}

// Answer is an answer about a name.
type Answer struct {
	Name      string
	Addresses []netip.Addr
	TTL       time.Duration
	Upstream  bool // of another name server: private addresses open nothing
}

// Groups returns the groups that the addresses of a name enter. A name that rebinds must open nothing.
type Groups func(name string, rebinds bool) []int

// rebinds reports whether an address of an answer is private although another name server has the name. The owner of
// the name would choose what it opens (DNS rebinding), so that rules with addresses decide about it.
func rebinds(a netip.Addr, upstream bool) bool { return upstream && !egress.IsPublic(a) }

// Book has the answers of one container. It is not safe for concurrent use.
type Book struct {
	open  map[Open]time.Time     // until
	names map[netip.Addr][]named // the last one is the last answered
	swept time.Time
}

// named is a name that was answered with an address.
type named struct {
	name     string
	until    time.Time
	upstream bool
}

// NewBook returns a book with addresses that are open, whose names are not known.
func NewBook(left map[Open]time.Duration, now time.Time) *Book {
	b := &Book{open: map[Open]time.Time{}, names: map[netip.Addr][]named{}, swept: now}
	for o, d := range left {
		b.open[o] = now.Add(d)
	}
	return b
}

// Learn adds an answer about a name that opens groups. It returns what must be
// written to the kernel, with the time that each stays open; some are open already. Answers with the same
// name and addresses whose TTL ends within answerable need not be learned.
func (b *Book) Learn(a Answer, groups Groups, now time.Time) (write map[Open]time.Duration, answerable time.Duration) {
	ttl := min(max(a.TTL, 0), maxTTL)
	b.sweep(now)
	write, answerable = map[Open]time.Duration{}, ttl+grace-slack
	for _, addr := range a.Addresses {
		addr = addr.Unmap()
		if !b.remember(addr, named{canonical(a.Name), now.Add(ttl + grace), a.Upstream}) {
			answerable = 0
		}
		for _, g := range groups(a.Name, rebinds(addr, a.Upstream)) {
			o := Open{g, addr}
			until, known := b.open[o]
			switch left := until.Sub(now); {
			case known && left >= ttl+slack: // clients keep the answer for its TTL, and connect a moment later
				answerable = min(answerable, left-slack)
			case !known && len(b.open) >= maxLearned:
				answerable = 0
			default:
				b.open[o], write[o] = now.Add(ttl+grace), ttl+grace
			}
		}
	}
	return write, answerable
}

// Add opens addresses that are not open yet, whose names are not known.
func (b *Book) Add(left map[Open]time.Duration, now time.Time) {
	for o, d := range left {
		if _, known := b.open[o]; !known {
			b.open[o] = now.Add(d)
		}
	}
}

// remember keeps the name of an address. It returns false if there are too many.
func (b *Book) remember(a netip.Addr, last named) bool {
	before, known := b.names[a]
	if !known && len(b.names) >= maxLearned {
		return false
	}
	all := make([]named, 0, len(before)+1) // clones share the slices
	for _, n := range before {
		if n.name != last.name {
			all = append(all, n)
		} else if n.until.After(last.until) {
			last.until = n.until
		}
	}
	all = append(all, last)
	b.names[a] = all[max(0, len(all)-maxNames):]
	return true
}

// sweep forgets what has ended, when there is little space, and from time to time.
func (b *Book) sweep(now time.Time) {
	if max(len(b.open), len(b.names)) < maxLearned && now.Sub(b.swept) < grace {
		return
	}
	b.swept = now
	maps.DeleteFunc(b.open, func(_ Open, until time.Time) bool { return !until.After(now) })
	for a := range b.names {
		if left := b.lasting(a, now); len(left) > 0 {
			b.names[a] = left
		} else {
			delete(b.names, a)
		}
	}
}

// Adopt returns the book for a changed policy: same returns the new groups with the domains of an old one,
// groups those that a name opens now.
func (b *Book) Adopt(same func(group int) []int, groups Groups, now time.Time) *Book {
	next := NewBook(nil, now)
	keep := func(addr netip.Addr, groups []int, until time.Time) {
		for _, g := range groups {
			if o := (Open{g, addr}); until.After(now) && until.After(next.open[o]) {
				next.open[o] = until
			}
		}
	}
	for o, until := range b.open {
		keep(o.Addr, same(o.Group), until)
	}
	for a := range b.names {
		left := b.lasting(a, now)
		for _, n := range left {
			keep(a, groups(n.name, rebinds(a, n.upstream)), n.until)
		}
		if len(left) > 0 {
			next.names[a] = left
		}
	}
	return next
}

// Left returns the open addresses with the time that each stays open.
func (b *Book) Left(now time.Time) map[Open]time.Duration {
	left := map[Open]time.Duration{}
	for o, until := range b.open {
		if until.After(now) {
			left[o] = until.Sub(now)
		}
	}
	return left
}

// Has reports whether an address was opened for a group. It stays true until the address is forgotten.
func (b *Book) Has(o Open) bool {
	_, ok := b.open[o]
	return ok
}

// Name returns the last name that was answered with an address, or "".
func (b *Book) Name(a netip.Addr) string {
	if all := b.names[a]; len(all) > 0 {
		return all[len(all)-1].name
	}
	return ""
}

// Names returns the names that were answered with an address and have not ended, the last one first. If all
// have ended, it is the last one, and without a name "".
func (b *Book) Names(a netip.Addr, now time.Time) (names []string) {
	for _, n := range b.lasting(a, now) {
		names = append(names, n.name)
	}
	if len(names) == 0 {
		return []string{b.Name(a)}
	}
	slices.Reverse(names)
	return names
}

// lasting returns the names of an address that have not ended.
func (b *Book) lasting(a netip.Addr, now time.Time) (left []named) {
	for _, n := range b.names[a] {
		if n.until.After(now) {
			left = append(left, n)
		}
	}
	return left
}

// Clone returns a copy.
func (b *Book) Clone() *Book { return &Book{maps.Clone(b.open), maps.Clone(b.names), b.swept} }

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
