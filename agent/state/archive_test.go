package state_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/state"
)

func TestSaveDuringWrites(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "pets.db"), pets()
	db := open(t, path, table)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default: // the two records of a transaction must both be in a copy
				n := strconv.Itoa(i)
				_ = db.Update(func(tx *state.Tx) error {
					_ = table.Put(tx, &pet{ID: "a", Names: []string{n}})
					return table.Put(tx, &pet{ID: "b", Names: []string{n, strings.Repeat("x", i%5000)}})
				})
			}
		}
	})
	defer writer.Wait()
	defer close(stop)
	for range 5 {
		to := t.TempDir()
		m, err := state.Save(t.Context(), filepath.Dir(path), to, "test")
		must(t, err)
		if len(m.Stores) != 1 || m.Stores[0].Name != "pets.db" {
			t.Fatalf("got %+v", m)
		}
		copied := pets()
		saved := open(t, filepath.Join(to, "pets.db"), copied)
		a, _ := copied.Get(saved.View(), "a")
		b, _ := copied.Get(saved.View(), "b")
		if a != nil && a.Names[0] != b.Names[0] {
			t.Errorf("got %v and %v of one transaction", a.Names, b.Names[0])
		}
		closed(t, saved)
	}
}

func TestRestorePutsBackAnArchive(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "pets.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{ID: "a"})
	dir := t.TempDir()
	_, err := state.Save(t.Context(), filepath.Dir(path), dir, "test")
	must(t, err)
	var archive bytes.Buffer
	must(t, state.Pack(dir, &archive))
	put(t, db, table, &pet{ID: "b"})
	closed(t, db)

	unpacked := t.TempDir()
	must(t, state.Unpack(&archive, unpacked))
	names, aside, err := state.Restore(filepath.Dir(path), unpacked)
	must(t, err)
	if len(names) != 1 || names[0] != "pets.db" {
		t.Errorf("got %v", names)
	}
	table = pets()
	db = open(t, path, table)
	if got := ids(db, table); got != "a" {
		t.Errorf("got records %q, want a", got)
	}
	closed(t, db)
	table = pets()
	if got := ids(open(t, filepath.Join(aside, "pets.db"), table), table); got != "ab" {
		t.Errorf("got records %q aside, want ab", got)
	}
}

// A backup of one host restored on another one gets the generation of that, or brings its own to a
// new one.
func TestRestoreOnAnotherHost(t *testing.T) {
	from := filepath.Dir(fileWith(t, 2))
	for name, root := range map[string]string{"new": t.TempDir(), "used": filepath.Dir(fileWith(t, 1))} {
		t.Run(name, func(t *testing.T) {
			_, _, err := state.Restore(root, from)
			must(t, err)
			table := pets()
			if got := ids(open(t, filepath.Join(root, "pets.db"), table), table); got != "ab" {
				t.Errorf("got records %q, want ab", got)
			}
		})
	}
}

func TestRestoreChecksBeforeItReplaces(t *testing.T) {
	path, from := fileWith(t, 1), t.TempDir()
	write(t, filepath.Join(from, "other.db"), read(t, fileWith(t, 1)))
	write(t, filepath.Join(from, "pets.db"), []byte("no database"))
	before := read(t, path)
	if _, _, err := state.Restore(filepath.Dir(path), from); err == nil ||
		!strings.Contains(err.Error(), "is not a complete state file") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(read(t, path), before) {
		t.Error("a store was replaced")
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "other.db")); err == nil {
		t.Error("a store was restored")
	}
}

func TestUnpackRefusesForeignNames(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "evil"), []byte("x"))
	var archive bytes.Buffer
	must(t, state.Pack(dir, &archive))
	if err := state.Unpack(&archive, t.TempDir()); err == nil || !strings.Contains(err.Error(), "unexpected file") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for name, logged := range map[string]bool{"log": true, "no log": false} {
		b.Run(name, func(b *testing.B) {
			dir, table := b.TempDir(), pets()
			if !logged { // a directory in the way of the log
				if err := os.MkdirAll(filepath.Join(dir, "backup", "pets.log"), 0o700); err != nil {
					b.Fatal(err)
				}
			}
			db, err := state.Open(filepath.Join(dir, "pets.db"), table)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			p := &pet{ID: "a", Names: []string{strings.Repeat("x", 3000)}}
			for b.Loop() {
				if err := db.Update(func(tx *state.Tx) error { return table.Put(tx, p) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
