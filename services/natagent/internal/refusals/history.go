package refusals

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
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
// one. So are those that are in both files after a crash.
func (g *history) load(do func(Refusal)) error {
	var last time.Time
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
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Time.After(last) {
				last = r.Time
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
		g.kept, old = share(g.kept, maxKept)
	}
	return old
}

// share divides records into at most n that are kept, and others. The containers with the most records lose their
// oldest ones, so that none displaces the records of another. If there are more containers than n, the newest are kept.
func share(all []Refusal, n int) (kept, old []Refusal) {
	count := map[string]int{}
	for _, r := range all {
		count[r.Owner]++
	}
	sizes := slices.Sorted(maps.Values(count))
	limit, total := n, n
	for i, size := range sizes { // those with less than an equal part leave the rest to the others
		if limit = n / (len(sizes) - i); size > limit {
			break
		}
		n -= size
	}
	if limit == 0 { // more containers than records
		from := max(0, len(all)-total)
		return slices.Clone(all[from:]), all[:from]
	}

	for _, r := range all {
		if count[r.Owner] > limit {
			count[r.Owner]--
			old = append(old, r)
			continue
		}
		kept = append(kept, r)
	}
	return kept, old
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

// rotate writes the records in memory to the second file, and starts a new one. If that fails, the present one
// continues.
func (g *history) rotate() {
	if os.WriteFile(g.path+".new", g.encoded(), 0o600) != nil || os.Rename(g.path+".new", g.path+".1") != nil ||
		!removed(g.path) {
		g.size = fileLimit / 2 // tries again later, not with each record
		return
	}
	before := g.file
	if g.open() == nil {
		_ = before.Close()
	}
}

// removed removes a file. One that is gone is no error.
func removed(path string) bool {
	err := os.Remove(path)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// encoded returns the records in memory as lines, as many as a file has space for.
func (g *history) encoded() (lines []byte) {
	for n := maxKept; n > 0; n /= 2 {
		kept, _ := share(g.kept, n)
		lines = lines[:0]
		for i := 0; i < len(kept) && len(lines) <= fileLimit; i++ {
			if line, err := json.Marshal(kept[i]); err == nil {
				lines = append(append(lines, line...), '\n')
			}
		}
		if len(lines) <= fileLimit {
			return lines
		}
	}
	return nil
}

func (g *history) close() error {
	err := g.file.Close()
	g.file = nil
	return err
}
