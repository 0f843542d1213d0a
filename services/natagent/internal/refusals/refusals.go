// Package refusals keeps what policies of containers refused: the last records, in memory and on disk, and the
// first refusal of each kind.
//
// It decides nothing. Package egress adds records, package api returns them.
package refusals

import (
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Refusal is a packet or a question that a policy refused, or with reason "observe" let pass.
type Refusal struct {
	Time     time.Time
	Owner    string
	Name     string `json:",omitempty"` // of the container
	Reason   string
	Protocol string     `json:",omitempty"`
	Address  netip.Addr `json:",omitzero"`
	Port     uint16     `json:",omitempty"`
	Domain   string     `json:",omitempty"`
	Incoming bool       `json:",omitempty"` // Address is the source
	Rule     string     `json:",omitempty"` // that denies it; empty if no rule allows it
	First    bool       `json:",omitempty"` // of its kind, see firsts
}

// maxDomain bounds the name of a record. A name of DNS has at most 1004 bytes as text; clients ask servers for any.
const maxDomain = 1024

// Observed is the reason of a record of a connection that was let pass.
const Observed = "observe"

// Journal keeps the last refusals, and in a history of its own, so that refusals do not displace them, the
// connections that were observed: of each kind one. It is safe for concurrent use.
type Journal struct {
	mu       sync.Mutex
	refused  history
	observed history
	seen     map[kind]bool // kinds of the observed connections
	last     time.Time     // of the last record
	lost     uint64
	reasons  map[string]uint64 // number of records by reason
	firsts   firsts
	changed  chan struct{} // closed by the next change
	another  chan struct{} // closed by the next first refusal of a kind
}

// Open reads the records of former processes.
func Open(dir string) (*Journal, error) {
	j := &Journal{refused: history{path: filepath.Join(dir, "refusals.json")},
		observed: history{path: filepath.Join(dir, "observed.json")}, seen: map[kind]bool{},
		changed: make(chan struct{}), another: make(chan struct{}), reasons: map[string]uint64{}}
	for _, g := range []*history{&j.refused, &j.observed} {
		if err := g.load(func(r Refusal) { j.keep(r) }); err != nil {
			return nil, err
		}
	}
	if err := j.refused.open(); err != nil {
		return nil, err
	}
	if err := j.observed.open(); err != nil {
		return nil, errors.Join(err, j.refused.close())
	}
	return j, nil
}

// keep keeps a record in memory, and returns its history. It returns nil if a connection of its kind was
// observed before.
func (j *Journal) keep(r Refusal) *history {
	if r.Time.After(j.last) {
		j.last = r.Time
	}
	if !r.IsObserved() {
		j.refused.keep(r)
		return &j.refused
	}
	if j.seen[kindOf(r)] {
		return nil
	}
	for _, old := range j.observed.keep(r) {
		delete(j.seen, kindOf(old))
	}
	j.seen[kindOf(r)] = true
	return &j.observed
}

// Add adds a record. Times are made different, so that Since finds each record once.
func (j *Journal) Add(r Refusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reasons[r.Reason]++
	r.Domain = r.Domain[:min(len(r.Domain), maxDomain)]
	if !r.Time.After(j.last) {
		r.Time = j.last.Add(1)
	}
	r.First = j.firsts.isFirst(r)
	g := j.keep(r)
	if g == nil {
		return
	}

	close(j.changed)
	j.changed = make(chan struct{})
	if r.First {
		close(j.another)
		j.another = make(chan struct{})
	}
	g.write(r)
}

// AddLost counts refusals that were not recorded.
func (j *Journal) AddLost(n uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost += n
}

// Since returns the records after a time, in order, the number of lost ones, and a channel that is closed when
// there are more.
func (j *Journal) Since(t time.Time) (found []Refusal, lost uint64, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, g := range []*history{&j.refused, &j.observed} {
		found = append(found, g.after(t)...)
	}
	slices.SortStableFunc(found, func(a, b Refusal) int { return a.Time.Compare(b.Time) })
	return found, j.lost, j.changed
}

// Firsts returns the first refusals of each kind after a time, and a channel that is closed when there are
// more. Since a restart a kind can have another one.
func (j *Journal) Firsts(t time.Time) (found []Refusal, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.refused.after(t) {
		if r.First {
			found = append(found, r)
		}
	}
	return found, j.another
}

// Counts returns the numbers of records by reason, and of overflows, since the start of the process.
func (j *Journal) Counts() (map[string]uint64, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.reasons), j.lost
}

// Close closes the files.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.refused.close(), j.observed.close())
}

// IsObserved reports whether the connection was let pass.
func (r Refusal) IsObserved() bool { return r.Reason == Observed }
