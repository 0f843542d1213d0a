package pathprobe

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Problem is a host that packets do not reach.
type Problem struct{ Host, Reason string }

// Peer is another host, which is alive.
type Peer struct {
	ID      string
	Address string
}

// How many probes in a row decide, and the time between them. A host that was never reached gets more: it may not
// know this one yet.
const (
	decideNew   = 12
	decideKnown = 4
	manyLost    = 120
)

// times are the times between probes.
type times struct {
	fast  time.Duration // to a new host
	check time.Duration // after a loss
	slow  time.Duration // after a reply, or if there was none for long
}

func usualTimes() times {
	return times{fast: 250 * time.Millisecond, check: time.Second, slow: 10 * time.Second}
}

// health is the state of the way to a host.
type health int

const (
	unknown health = iota
	works
	small // only small packets arrive
	broken
)

// path is the way to one host.
type path struct {
	address    string
	health     health
	size       int       // of the packets that are lost, if only small ones arrive
	next       time.Time // of the next probe
	full, less uint64    // numbers of the packets that wait for a reply; 0: none
	lost       int       // probes of full size in a row
	lostSmall  int
}

// paths holds the ways to all hosts. It is pure, and not safe for concurrent use.
type paths struct {
	times  times
	mtu    int
	all    map[string]*path // by host ID
	number uint64
}

func newPaths(seed uint64) *paths {
	return &paths{times: usualTimes(), all: map[string]*path{}, number: seed}
}

// set sets the hosts and the size of full packets. The health of hosts that stay is kept, until probes to another
// address or of another size have decided.
func (p *paths) set(mtu int, peers []Peer) {
	changed := mtu != p.mtu
	p.mtu = mtu
	next := map[string]*path{}
	for _, peer := range peers {
		known := p.all[peer.ID]
		switch {
		case known == nil:
			known = &path{address: peer.Address}
		case known.address != peer.Address || changed:
			known = &path{address: peer.Address, health: known.health, size: known.size}
		}
		next[peer.ID] = known
	}
	p.all = next
}

// sending is a packet to send.
type sending struct {
	address string
	number  uint64
	mtu     int
}

// due returns the packets that are due, at most limit hosts, and counts those before as lost. It reports whether
// the problems have changed.
func (p *paths) due(now time.Time, limit int) (out []sending, changed bool) {
	for _, id := range slices.Sorted(maps.Keys(p.all)) {
		w := p.all[id]
		if now.Before(w.next) || limit == 0 {
			continue
		}
		limit--
		if w.full != 0 {
			w.lost++
		}
		if w.less != 0 {
			w.lostSmall++
		}
		changed = w.decide(p.mtu) || changed

		p.number += 2
		w.full, w.less = p.number, 0
		out = append(out, sending{w.address, w.full, p.mtu})
		if w.lost > 0 {
			w.less = p.number + 1
			out = append(out, sending{w.address, w.less, smallMTU})
		}
		w.next = now.Add(w.interval(p.times))
	}
	return out, changed
}

// decide changes the health after losses of packets of a size, and reports whether the problem is another one.
func (w *path) decide(size int) bool {
	need := decideKnown
	if w.health == unknown {
		need = decideNew
	}
	if w.lost < need {
		return false
	}
	before, lost := w.health, w.size
	if w.health, w.size = broken, 0; w.lostSmall < w.lost/2 {
		w.health, w.size = small, size
	}
	return w.health != before || w.size != lost
}

// interval returns the time until a probe counts as lost and the next one is sent.
func (w *path) interval(t times) time.Duration {
	switch {
	case w.health == unknown:
		return t.fast
	case w.lost > manyLost:
		return t.slow
	}
	return t.check
}

// replied notes a reply from an address and reports whether the problems have changed.
func (p *paths) replied(address string, number uint64, now time.Time) bool {
	for _, w := range p.all {
		if w.address != address || number == 0 {
			continue
		}
		switch number {
		case w.full:
			before := w.health
			w.health, w.full, w.lost, w.less, w.lostSmall = works, 0, 0, 0, 0
			w.next = now.Add(p.times.slow)
			return before != works
		case w.less:
			w.less, w.lostSmall = 0, 0
		}
	}
	return false
}

// knows reports whether an address is that of a host.
func (p *paths) knows(address string) bool {
	for _, w := range p.all {
		if w.address == address {
			return true
		}
	}
	return false
}

// problems returns the hosts that packets do not reach, sorted, and how many hosts are decided.
func (p *paths) problems() (all []Problem, decided int) {
	for _, id := range slices.Sorted(maps.Keys(p.all)) {
		switch p.all[id].health {
		case unknown:
			continue
		case works:
		case small:
			all = append(all, Problem{id, fmt.Sprintf("packets of %d bytes are lost, small ones arrive: "+
				"an MTU on the way is smaller", p.all[id].size)})
		case broken:
			all = append(all, Problem{id, fmt.Sprintf("no packet to UDP port %d comes back: a firewall may close it",
				tunnelPort)})
		}
		decided++
	}
	return all, decided
}
