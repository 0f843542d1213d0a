package state_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/state"
)

// seen records the changes of a watch, as "ID: names before -> names after".
type seen struct {
	mu   sync.Mutex
	keys []string
}

func (s *seen) add(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, keys...)
}

// take returns the changes since the last call.
func (s *seen) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.keys
	s.keys = nil
	return out
}

func describe(before, after *pet) []string {
	names := func(p *pet) string {
		if p == nil {
			return "none"
		}
		return strings.Join(p.Names, ",")
	}
	id := ""
	for _, p := range []*pet{before, after} {
		if p != nil {
			id = p.ID
		}
	}
	return []string{fmt.Sprintf("%s: %s -> %s", id, names(before), names(after))}
}

func checkSeen(t *testing.T, s *seen, want ...string) {
	t.Helper()
	if got := s.take(); !slices.Equal(got, want) {
		t.Errorf("got changes %q, want %q", got, want)
	}
}

func remove(t *testing.T, db *state.DB, table *state.Table[pet], keys ...string) {
	t.Helper()
	err := db.Update(func(tx *state.Tx) error {
		for _, key := range keys {
			if _, err := table.Delete(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchReportsCommits(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	put(t, db, table, &pet{"0", []string{"old"}})
	s := new(seen)
	stop := state.Watch(db, table, describe, s.add)
	checkSeen(t, s)

	put(t, db, table, &pet{"1", []string{"rex"}})
	checkSeen(t, s, "1: none -> rex")
	put(t, db, table, &pet{"1", []string{"max"}})
	checkSeen(t, s, "1: rex -> max")
	remove(t, db, table, "1", "0", "unknown")
	checkSeen(t, s, "1: max -> none", "0: old -> none")

	stop()
	put(t, db, table, &pet{"2", []string{"tom"}})
	checkSeen(t, s)
	stop() // has no effect
}

func TestWatchMergesOneTransaction(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	put(t, db, table, &pet{"1", []string{"rex"}})
	s := new(seen)
	defer state.Watch(db, table, describe, s.add)()

	err := db.Update(func(tx *state.Tx) error {
		for _, p := range []*pet{{"1", []string{"max"}}, {"2", []string{"tom"}}, {"1", []string{"fido"}}, {ID: "3"}} {
			if err := table.Put(tx, p); err != nil {
				return err
			}
		}
		_, err := table.Delete(tx, "3")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.take()
	slices.Sort(got)
	if want := []string{"1: rex -> fido", "2: none -> tom"}; !slices.Equal(got, want) {
		t.Errorf("got changes %q, want %q", got, want)
	}
}

func TestWatchSeesCommittedState(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	var got []string
	defer state.Watch(db, table, func(_, after *pet) []string {
		p, _ := table.Get(db.View(), after.ID)
		return p.Names
	}, func(names ...string) { got = append(got, names...) })()
	put(t, db, table, &pet{"1", []string{"rex"}})
	if !slices.Equal(got, []string{"rex"}) {
		t.Errorf("got %q in the view of a watcher, want rex", got)
	}
}

func TestWatchIgnoresFailedUpdates(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	s := new(seen)
	defer state.Watch(db, table, describe, s.add)()
	boom := errors.New("boom")
	err := db.Update(func(tx *state.Tx) error { return errors.Join(table.Put(tx, &pet{ID: "1"}), boom) })
	if !errors.Is(err, boom) {
		t.Fatalf("got error %v, want %v", err, boom)
	}
	checkSeen(t, s)

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *state.Tx) error { return table.Put(tx, &pet{ID: "2"}) }); err == nil {
		t.Error("got no error from a closed store")
	}
	checkSeen(t, s)
}

func TestWatchReportsShownRecords(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	s := new(seen)
	defer state.Watch(db, table, describe, s.add)()
	if err := db.Show(func(tx *state.Tx) error { return table.Put(tx, &pet{ID: "1"}) }); err != nil {
		t.Fatal(err)
	}
	checkSeen(t, s, "1: none -> ")
}

func TestWatchersAreIndependent(t *testing.T) {
	table := pets()
	others := state.NewTable("others", func(p *pet) string { return p.ID })
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"), table, others)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })

	all, tigers, other := new(seen), new(seen), new(seen)
	stop := state.Watch(db, table, describe, all.add)
	defer state.Watch(db, table, func(before, after *pet) []string {
		if after == nil || !slices.Contains(after.Names, "tiger") {
			return nil
		}
		return []string{after.ID}
	}, func(keys ...string) {
		if len(keys) == 0 {
			t.Error("add was called without keys")
		}
		tigers.add(keys...)
	})()
	defer state.Watch(db, others, describe, other.add)()

	put(t, db, table, &pet{"1", []string{"tiger"}})
	put(t, db, table, &pet{"2", []string{"rex"}})
	checkSeen(t, all, "1: none -> tiger", "2: none -> rex")
	checkSeen(t, tigers, "1")
	checkSeen(t, other)

	stop()
	put(t, db, others, &pet{"9", []string{"nemo"}})
	put(t, db, table, &pet{"3", []string{"tiger"}})
	checkSeen(t, all)
	checkSeen(t, tigers, "3")
	checkSeen(t, other, "9: none -> nemo")
}

// TestWatchDuringUpdates starts and stops watches while others commit. Each commit between start and stop must be
// reported.
func TestWatchDuringUpdates(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	const changes = 20
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			s := new(seen)
			id := fmt.Sprint(worker)
			stop := state.Watch(db, table, func(_, after *pet) []string {
				if after.ID != id {
					return nil
				}
				return after.Names
			}, s.add)
			for n := range changes {
				put(t, db, table, &pet{id, []string{fmt.Sprint(n)}})
			}
			stop()
			if got := s.take(); len(got) != changes {
				t.Errorf("worker %d: got %d changes, want %d", worker, len(got), changes)
			}
		})
	}
	all.Wait()
}

// BenchmarkWatch compares commits to memory with and without watchers.
func BenchmarkWatch(b *testing.B) {
	for _, watchers := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			table := pets()
			db, err := state.Open(filepath.Join(b.TempDir(), "state.db"), table)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			for range watchers {
				defer state.Watch(db, table, func(_, after *pet) []string { return []string{after.ID} },
					func(...string) {})()
			}

			for b.Loop() {
				if err := db.Show(func(tx *state.Tx) error { return table.Put(tx, &pet{ID: "1"}) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
