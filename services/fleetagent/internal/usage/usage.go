// Package usage decides what happens with addresses that a host does not need: which of its blocks
// are returned after a time without use, and which host is asked for addresses when a subnet has no
// free block.
//
// It is pure. It is used by fleetagent.
package usage

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// IdleTime is the time after which an empty block is returned.
const IdleTime = 10 * time.Minute

// Tracker knows since when blocks of this host are empty.
type Tracker struct {
	blocks []*fleetv1.BlockUsage
	since  map[string]time.Time // by prefix
}

// Report takes the use of all blocks over.
func (t *Tracker) Report(all []*fleetv1.BlockUsage, now time.Time) {
	since := map[string]time.Time{}
	for _, b := range all {
		if b.GetUsed() > 0 {
			continue
		}
		since[b.GetPrefix()] = now
		if before, ok := t.since[b.GetPrefix()]; ok {
			since[b.GetPrefix()] = before
		}
	}
	t.blocks, t.since = all, since
}

// Idle returns the blocks that were empty for a time and are not needed: without them, a network
// that has containers still has free addresses for as many as it has, up to one block.
func (t *Tracker) Idle(now time.Time, after time.Duration) []*fleetv1.BlockUsage {
	type sum struct{ used, free uint64 }
	total := map[string]*sum{}
	key := func(b *fleetv1.BlockUsage) string {
		p, err := netip.ParsePrefix(b.GetPrefix())
		if err != nil {
			return b.GetNetworkId()
		}
		return b.GetNetworkId() + family(p)
	}
	for _, b := range t.blocks {
		s := total[key(b)]
		if s == nil {
			s = &sum{}
			total[key(b)] = s
		}
		s.used += b.GetUsed()
		s.free += b.GetFree()
	}

	var idle []*fleetv1.BlockUsage
	for _, b := range t.blocks {
		since, empty := t.since[b.GetPrefix()]
		if !empty || now.Sub(since) < after {
			continue
		}
		s := total[key(b)]
		if s.used > 0 && s.free-b.GetFree() < min(s.used, b.GetFree()) {
			continue
		}
		s.free -= b.GetFree()
		idle = append(idle, b)
	}
	return idle
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "/4"
	}
	return "/6"
}

// Donor is a block of another host.
type Donor struct {
	Host   string
	Prefix netip.Prefix
	Free   uint64
}

// Donors returns the hosts to ask for addresses of a subnet, with a block each: those with the most
// free addresses first. With an address, it is the owner of the block that contains it.
func Donors(blocks map[netip.Prefix]*fleetv1.OverlayBlock, own string, subnet netip.Prefix, address netip.Addr,
	alive func(host string) bool, free func(host string, p netip.Prefix) uint64) []Donor {
	best := map[string]Donor{}
	for p, b := range blocks {
		host := b.GetHostId()
		if host == own || !alive(host) || !subnet.Overlaps(p) || address.IsValid() && !p.Contains(address) {
			continue
		}
		d := Donor{host, p, free(host, p)}
		if before, ok := best[host]; d.Free > 0 && (!ok || d.Free > before.Free) {
			best[host] = d
		}
	}
	var all []Donor
	for _, d := range best {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Donor) int {
		return cmp.Or(cmp.Compare(b.Free, a.Free), cmp.Compare(a.Host, b.Host))
	})
	return all
}
