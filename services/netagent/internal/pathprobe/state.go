package pathprobe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is a host that packets do not reach.
type Problem struct {
	Host, Reason string
	Closed       []uint16 // UDP ports from which no packet comes back
}

// Peer is another host, which is alive.
type Peer struct {
	ID      string
	Address string
	Ports   []uint16 // UDP ports of its encrypted tunnels, in the same order on all hosts; none: there are none
}

// ports returns the UDP ports of all tunnels of a host.
func (p Peer) ports() []uint16 { return append([]uint16{tunnelPort}, p.Ports...) }

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

// way is a tunnel to a host.
type way struct {
	host string
	slot int // of its ports
}

func compareWays(a, b way) int {
	return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.slot, b.slot))
}

// path is the way to one port of a host.
type path struct {
	address    string
	port       uint16
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
	all    map[way]*path
	number uint64
}

func newPaths(seed uint64) *paths {
	return &paths{times: usualTimes(), all: map[way]*path{}, number: seed}
}

// set sets the hosts and the size of full packets. The health of hosts that stay is kept, until probes to another
// address or of another size have decided.
func (p *paths) set(mtu int, peers []Peer) {
	changed := mtu != p.mtu
	p.mtu = mtu
	next := map[way]*path{}
	for _, peer := range peers {
		for slot, port := range peer.ports() {
			key := way{peer.ID, slot}
			known := p.all[key]
			switch {
			case known == nil:
				known = &path{address: peer.Address, port: port}
			case known.address != peer.Address || known.port != port || changed:
				known = &path{address: peer.Address, port: port, health: known.health, size: known.size}
			}
			next[key] = known
		}
	}
	p.all = next
}

// sending is a packet to send.
type sending struct {
	address string
	port    uint16
	number  uint64
	mtu     int
}

// due returns the packets that are due, on at most limit ways, and counts those before as lost. It reports whether
// the problems have changed.
func (p *paths) due(now time.Time, limit int) (out []sending, changed bool) {
	for _, key := range slices.SortedFunc(maps.Keys(p.all), compareWays) {
		w := p.all[key]
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
		out = append(out, sending{w.address, w.port, w.full, p.mtu})
		if w.lost > 0 {
			w.less = p.number + 1
			out = append(out, sending{w.address, w.port, w.less, smallMTU})
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

// problems returns the hosts that packets do not reach, sorted, and how many hosts are decided.
func (p *paths) problems() (all []Problem, decided int) {
	undecided := map[string]bool{}
	var last way
	for _, key := range slices.SortedFunc(maps.Keys(p.all), compareWays) {
		if last.host != key.host {
			decided++
		}
		last = key
		w := p.all[key]
		if w.health == unknown && !undecided[key.host] {
			undecided[key.host] = true
			decided--
		}
		if w.health != small && w.health != broken {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Host != key.host {
			all = append(all, Problem{Host: key.host})
		}
		all[len(all)-1].add(*w)
	}
	return all, decided
}

// add adds a way that is broken. Ports that are closed are more important than small packets.
func (p *Problem) add(w path) {
	if w.health == small && len(p.Closed) == 0 {
		p.Reason = fmt.Sprintf("packets of %d bytes are lost, small ones arrive: an MTU on the way is smaller", w.size)
	}
	if w.health != broken {
		return
	}
	p.Closed = append(p.Closed, w.port)
	ports := make([]string, len(p.Closed))
	for i, port := range p.Closed {
		ports[i] = strconv.Itoa(int(port))
	}
	name := "port "
	if len(ports) > 1 {
		name = "ports "
	}
	p.Reason = "no packet to UDP " + name + strings.Join(ports, ", ") + " comes back: a firewall may close it"
}

func sameProblems(a, b []Problem) bool {
	return slices.EqualFunc(a, b, func(a, b Problem) bool {
		return a.Host == b.Host && a.Reason == b.Reason
	})
}
