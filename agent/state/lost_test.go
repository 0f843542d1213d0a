package state_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
)

// fileWith creates a store with n pets and closes it.
func fileWith(t *testing.T, n int) string {
	t.Helper()
	path, table := filepath.Join(t.TempDir(), "pets.db"), pets()
	db := open(t, path, table)
	for i := range n {
		put(t, db, table, &pet{ID: string(rune('a' + i))})
	}
	closed(t, db)
	return path
}

func closed(t *testing.T, db *state.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func ids(db *state.DB, table *state.Table[pet]) string {
	var all []string
	for p := range table.All(db.View()) {
		all = append(all, p.ID)
	}
	return strings.Join(all, "")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func backupDir(path string) string { return filepath.Join(filepath.Dir(path), "backup") }

// losses are ways in which a store of three commits is lost, each with a part of the refusal.
var losses = []struct {
	name, refusal string
	lose          func(t *testing.T, path string)
}{
	{"missing", "is missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }},
	{"empty", "is empty", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }},
	{"truncated", "truncated", func(t *testing.T, path string) { must(t, os.Truncate(path, 9000)) }},
	{"truncated in a page", "damaged", func(t *testing.T, path string) { must(t, os.Truncate(path, 5000)) }},
	{"zeroed", "damaged", func(t *testing.T, path string) { write(t, path, make([]byte, len(read(t, path)))) }},
	{"garbage", "damaged", func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("garbage "), 4096)) }},
	{"a zeroed page", "damaged", func(t *testing.T, path string) {
		data := read(t, path)
		for at := 2 * 4096; at < len(data); at++ {
			data[at] = 0
		}
		write(t, path, data)
	}},
	{"from another host", "from another host or another time", func(t *testing.T, path string) {
		write(t, path, read(t, fileWith(t, 1)))
	}},
	{"without records", "has no records", func(t *testing.T, path string) {
		must(t, os.Remove(path))
		file, err := bolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, file.Close())
	}},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLostStoreRefused(t *testing.T) {
	for _, tc := range losses {
		t.Run(tc.name, func(t *testing.T) {
			path := fileWith(t, 3)
			tc.lose(t, path)
			before, _ := os.ReadFile(path)
			_, err := state.Open(path, pets())
			if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), tc.refusal) ||
				!strings.Contains(err.Error(), "--recover") {
				t.Errorf("got %v, want a conflict with %q and the choices", err, tc.refusal)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestLostStoreRecovered(t *testing.T) {
	for _, tc := range losses {
		t.Run(tc.name, func(t *testing.T) {
			path, table := fileWith(t, 3), pets()
			tc.lose(t, path)
			db, err := state.Config{Choice: state.Recover}.Open(path, table)
			must(t, err)
			if got := ids(db, table); got != "abc" {
				t.Errorf("got records %q, want abc", got)
			}
			put(t, db, table, &pet{ID: "d"})
			closed(t, db)
			table = pets()
			if got := ids(open(t, path, table), table); got != "abcd" {
				t.Errorf("got records %q after one more start, want abcd", got)
			}
		})
	}
}

func TestLostStoreSetAside(t *testing.T) {
	for _, tc := range losses {
		t.Run(tc.name, func(t *testing.T) {
			path, table := fileWith(t, 3), pets()
			tc.lose(t, path)
			evidence := func() string { return "1 pet in the yard" }
			db, err := state.Config{Choice: state.StartEmpty, Evidence: evidence}.Open(path, table)
			must(t, err)
			if got := ids(db, table); got != "" {
				t.Errorf("got records %q, want none", got)
			}
			closed(t, db)
			aside, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "quarantine", "*", "*"))
			if len(aside) == 0 {
				t.Error("nothing is in the quarantine")
			}
			open(t, path, pets()) // the new store is not lost
		})
	}
}

func TestEvidenceRefusesNewStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pets.db")
	_, err := state.Config{Evidence: func() string { return "1 pet in the yard" }}.Open(path, pets())
	if err == nil || !strings.Contains(err.Error(),
		"is missing, but there is data that belongs to it: 1 pet in the yard") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the refused store was created")
	}
}

func TestOldStoreGetsMissedCommits(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "pets.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{ID: "a"})
	closed(t, db)
	old := read(t, path)

	table = pets()
	db = open(t, path, table)
	put(t, db, table, &pet{ID: "b", Names: []string{"<tom & tiger>"}})
	must(t, db.Update(func(tx *state.Tx) error { _, err := table.Delete(tx, "a"); return err }))
	closed(t, db)
	write(t, path, old)

	var log bytes.Buffer
	table = pets()
	db, err := state.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}.Open(path, table)
	must(t, err)
	defer closed(t, db)
	if got := ids(db, table); got != "b" {
		t.Errorf("got records %q, want b", got)
	}
	if !strings.Contains(log.String(), "older than its log") {
		t.Errorf("got log %q", log.String())
	}
}

func TestOlderThanLogRefused(t *testing.T) {
	path := fileWith(t, 1)
	old := read(t, path)
	table := pets()
	db := open(t, path, table)
	put(t, db, table, &pet{ID: "b"})
	closed(t, db)
	must(t, os.Remove(logOf(path))) // a gap, so the next start makes a backup and a new log
	table = pets()
	db = open(t, path, table)
	eventually(t, func() bool { _, err := os.Stat(logOf(path)); return err == nil })
	put(t, db, table, &pet{ID: "c"})
	closed(t, db)

	write(t, path, old)
	if _, err := state.Open(path, pets()); err == nil ||
		!strings.Contains(err.Error(), "is older than its log: 1 of 3 commits") {
		t.Fatalf("got %v", err)
	}
	table = pets()
	db, err := state.Config{Choice: state.Recover}.Open(path, table)
	must(t, err)
	defer closed(t, db)
	if got := ids(db, table); got != "abc" {
		t.Errorf("got records %q, want abc", got)
	}
}

func logOf(path string) string { return filepath.Join(backupDir(path), "pets.log") }

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
	}
}

// The loss of power can leave the log short, or cut off in a line.
func TestShortLogIsReplaced(t *testing.T) {
	for name, cut := range map[string]int64{"in a line": 5, "a line": 60} {
		t.Run(name, func(t *testing.T) {
			path := fileWith(t, 3)
			info, err := os.Stat(logOf(path))
			must(t, err)
			must(t, os.Truncate(logOf(path), info.Size()-cut))
			table := pets()
			db := open(t, path, table)
			eventually(t, func() bool {
				_, err := os.Stat(filepath.Join(backupDir(path),
					"pets.db"))
				return err == nil
			})
			put(t, db, table, &pet{ID: "d"})
			closed(t, db)
			must(t, os.Remove(path))
			table = pets()
			db, err = state.Config{Choice: state.Recover}.Open(path, table)
			must(t, err)
			defer closed(t, db)
			if got := ids(db, table); got != "abcd" {
				t.Errorf("got records %q, want abcd", got)
			}
		})
	}
}

func TestLostGenerationComesFromStores(t *testing.T) {
	path := fileWith(t, 1)
	file := filepath.Join(filepath.Dir(path), "generation")
	before := read(t, file)
	for name, lose := range map[string]func(){
		"missing": func() { must(t, os.Remove(file)) },
		"empty":   func() { must(t, os.Truncate(file, 0)) },
		"garbage": func() { write(t, file, []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			lose()
			// A store that is new has the generation of the others.
			other, err := state.Open(filepath.Join(filepath.Dir(path), "other.db"), pets())
			must(t, err)
			closed(t, other)
			db := open(t, path, pets())
			closed(t, db)
			if !bytes.Equal(read(t, file), before) {
				t.Error("the generation changed")
			}
		})
	}
}

// The services of a new host start at the same time.
func TestStoresOfNewHostShareGeneration(t *testing.T) {
	for range 20 {
		root := t.TempDir()
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				db, err := state.Open(filepath.Join(root, name+".db"), pets())
				if err == nil {
					err = db.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, name := range []string{"a", "b", "c", "d"} {
			db, err := state.Open(filepath.Join(root, name+".db"), pets())
			if err != nil {
				t.Fatal(err)
			}
			closed(t, db)
		}
	}
}
