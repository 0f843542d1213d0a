// Package refusals keeps what policies of containers refused: the last records, in memory and on disk, and the
// first refusal of each kind.
//
// It decides nothing. Package egress adds records, package api returns them.
package refusals

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
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

// Observed is the reason of a record of a connection that was let pass.
const Observed = "observe"

// Limits of the journal.
const (
	maxKept   = 4096    // in memory
	fileLimit = 1 << 20 // bytes of a file; there are at most two
)

// Journal keeps the last refusals, in memory and in two files of bounded size. It is safe for
// concurrent use.
type Journal struct {
	path string

	mu      sync.Mutex
	kept    []Refusal // oldest first
	lost    uint64
	reasons map[string]uint64 // number of records by reason
	file    *os.File
	size    int64
	firsts  firsts
	changed chan struct{} // closed by the next change
	another chan struct{} // closed by the next first refusal of a kind
}

// Open reads the refusals of former processes. Unreadable lines are skipped: a crash can cut
// the last one.
func Open(dir string) (*Journal, error) {
	j := &Journal{path: filepath.Join(dir, "refusals.json"), changed: make(chan struct{}),
		another: make(chan struct{}), reasons: map[string]uint64{}}
	for _, path := range []string{j.path + ".1", j.path} {
		if err := j.load(path); err != nil {
			return nil, err
		}
	}

	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	j.file = f
	if info, err := f.Stat(); err == nil {
		j.size = info.Size()
	}
	return j, nil
}

func (j *Journal) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r Refusal
		if json.Unmarshal(lines.Bytes(), &r) == nil && !r.Time.IsZero() {
			j.keep(r)
		}
	}
	return nil
}

func (j *Journal) keep(r Refusal) {
	j.kept = append(j.kept, r)
	if len(j.kept) > 2*maxKept {
		j.kept = append([]Refusal(nil), j.kept[len(j.kept)-maxKept:]...)
	}
}

// Add records a refusal. A disk that is full loses the file's line, not the record in memory. Times are
// made different, so that Since finds each record once.
func (j *Journal) Add(r Refusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.kept); n > 0 && !r.Time.After(j.kept[n-1].Time) {
		r.Time = j.kept[n-1].Time.Add(1)
	}
	r.First = j.firsts.isFirst(r)
	j.keep(r)
	j.reasons[r.Reason]++
	close(j.changed)
	j.changed = make(chan struct{})
	if r.First {
		close(j.another)
		j.another = make(chan struct{})
	}

	line, err := json.Marshal(r)
	if err != nil || j.file == nil {
		return
	}
	if j.size > fileLimit {
		j.rotate()
	}
	n, _ := j.file.Write(append(line, '\n'))
	j.size += int64(n)
}

// rotate starts a new file. If that fails, the present one continues.
func (j *Journal) rotate() {
	if os.Rename(j.path, j.path+".1") != nil {
		return
	}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_ = j.file.Close()
	j.file, j.size = f, 0
}

// AddLost counts refusals that were not recorded.
func (j *Journal) AddLost(n uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost += n
}

// Since returns the refusals after a time, the number of lost ones, and a channel that is closed when
// there are more.
func (j *Journal) Since(t time.Time) (found []Refusal, lost uint64, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.kept {
		if r.Time.After(t) {
			found = append(found, r)
		}
	}
	return found, j.lost, j.changed
}

// Firsts returns the first refusals of each kind after a time, and a channel that is closed when there are
// more. Since a restart a kind can have another one.
func (j *Journal) Firsts(t time.Time) (found []Refusal, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.kept {
		if r.First && r.Time.After(t) {
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

// Close closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.file.Close()
	j.file = nil
	return err
}

// IsObserved reports whether the connection was let pass.
func (r Refusal) IsObserved() bool { return r.Reason == Observed }
