package refusals

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"sort"
	"time"
)

// Limits of a history.
const (
	maxKept   = 4096    // in memory
	fileLimit = 1 << 20 // bytes of a file; there are at most two
)

// history keeps the last records, in memory and in two files. It is not safe for concurrent use.
type history struct {
	path string
	kept []Refusal // oldest first
	file *os.File  // nil after close
	size int64
}

// open opens the file of a history for new records.
func (g *history) open() error {
	f, err := os.OpenFile(g.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	g.file, g.size = f, 0
	if info, err := f.Stat(); err == nil {
		g.size = info.Size()
	}
	return nil
}

// load calls do for the records of former processes. Unreadable lines are skipped: a crash can cut the last
// one.
func (g *history) load(do func(Refusal)) error {
	for _, path := range []string{g.path + ".1", g.path} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var r Refusal
			if json.Unmarshal(lines.Bytes(), &r) == nil && !r.Time.IsZero() {
				do(r)
			}
		}
		_ = f.Close()
	}
	return nil
}

// keep adds a record in memory, and returns those that are forgotten for it.
func (g *history) keep(r Refusal) (old []Refusal) {
	g.kept = append(g.kept, r)
	if len(g.kept) > 2*maxKept {
		old = g.kept[:len(g.kept)-maxKept]
		g.kept = append([]Refusal(nil), g.kept[len(g.kept)-maxKept:]...)
	}
	return old
}

// after returns the records after a time. Callers must not modify the result.
func (g *history) after(t time.Time) []Refusal {
	n := sort.Search(len(g.kept), func(i int) bool { return g.kept[i].Time.After(t) })
	return g.kept[n:]
}

// write writes a record to the file. A disk that is full loses the line, not the record in memory.
func (g *history) write(r Refusal) {
	line, err := json.Marshal(r)
	if err != nil || g.file == nil {
		return
	}
	if g.size > fileLimit {
		g.rotate()
	}
	n, _ := g.file.Write(append(line, '\n'))
	g.size += int64(n)
}

// rotate starts a new file. If that fails, the present one continues.
func (g *history) rotate() {
	if os.Rename(g.path, g.path+".1") != nil {
		return
	}
	before := g.file
	if g.open() == nil {
		_ = before.Close()
	}
}

func (g *history) close() error {
	err := g.file.Close()
	g.file = nil
	return err
}
