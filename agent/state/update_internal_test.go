package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type item struct{ ID, Name string }

func openItems(t *testing.T, path string, c Config) (*DB, *Table[item]) {
	t.Helper()
	items := NewTable("items", func(i *item) string { return i.ID })
	db, err := c.Open(path, items)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, items
}

// Updates that wait for the disk are committed together. Those that fail or panic change nothing, also after they have
// changed something, and do not affect others.
func TestUpdatesThatWaitShareACommit(t *testing.T) {
	const updates = 100
	var commits atomic.Int64
	path, c := filepath.Join(t.TempDir(), "state.db"), Config{Committed: func(time.Duration, error) { commits.Add(1) }}
	db, items := openItems(t, path, c)
	put := func(id, name string) error {
		return db.Update(func(tx *Tx) error { return items.Put(tx, &item{id, name}) })
	}
	if err := errors.Join(put("kept", "before"), put("gone", "before")); err != nil {
		t.Fatal(err)
	}
	commits.Store(0)

	var all sync.WaitGroup
	release := hold(&all, db)
	for i := range updates {
		all.Go(func() {
			if err := put(fmt.Sprint("id", i), "new"); err != nil {
				t.Error(err)
			}
		})
	}
	refused := errors.New("refused")
	all.Go(func() {
		err := db.Update(func(tx *Tx) error {
			_, err := items.Delete(tx, "gone")
			return errors.Join(err, items.Put(tx, &item{"kept", "after"}), items.Put(tx, &item{"added", ""}), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("got %v, want %v", err, refused)
		}
	})
	all.Go(func() {
		defer func() {
			if got := recover(); got != "panic" {
				t.Errorf("recovered %v", got)
			}
		}()
		_ = db.Update(func(tx *Tx) error {
			if err := items.Put(tx, &item{"panics", ""}); err != nil {
				t.Error(err)
			}
			panic("panic")
		})
	})
	release(updates + 2)
	all.Wait()

	if n := commits.Load(); n != 1 {
		t.Errorf("%d commits, want 1", n)
	}
	checkItems(t, db, items, updates)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, items = openItems(t, path, c)
	checkItems(t, db, items, updates)
}

// hold makes updates wait until the function that it returns is called, which waits for a number of them.
func hold(all *sync.WaitGroup, db *DB) (release func(waiting int)) {
	entered, end := make(chan struct{}), make(chan struct{})
	all.Go(func() { _ = db.Update(func(*Tx) error { close(entered); <-end; return nil }) })
	<-entered
	return func(waiting int) {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			db.queue.mu.Lock()
			n := len(db.queue.waiting)
			db.queue.mu.Unlock()
			if n >= waiting {
				break
			}
		}
		close(end)
	}
}

// checkItems expects the records that failed updates left, and new ones.
func checkItems(t *testing.T, db *DB, items *Table[item], more int) {
	t.Helper()
	var names []string
	for i := range items.All(db.View()) {
		if i.Name != "new" {
			names = append(names, i.ID+" "+i.Name)
		} else {
			more--
		}
	}
	if want := []string{"gone before", "kept before"}; !slices.Equal(names, want) || more != 0 {
		t.Errorf("got %q, want %q; %d new records are missing", names, want, more)
	}
}

// If the disk fails, all updates of the commit fail that changed something or came after one that did.
func TestUpdatesThatWaitFailTogether(t *testing.T) {
	db, items := openItems(t, filepath.Join(t.TempDir(), "state.db"), Config{})
	broken := errors.New("broken")
	var all sync.WaitGroup
	release := hold(&all, db)
	var failed atomic.Int64
	for i := range 20 {
		all.Go(func() {
			if err := db.Update(func(tx *Tx) error { return items.Put(tx, &item{fmt.Sprint(i), ""}) }); err != nil {
				failed.Add(1)
			}
		})
	}
	db.damaged = broken // hold has the lock
	release(20)
	all.Wait()
	for range items.All(db.View()) {
		t.Error("a record is visible that is not on disk")
	}
	if n := failed.Load(); n != 20 {
		t.Errorf("%d updates failed, want 20", n)
	}
	db.damaged = nil
}

// Watchers know the changes of an update before it returns, whichever goroutine ran it.
func TestWatchersKnowBeforeUpdatesReturn(t *testing.T) {
	db, items := openItems(t, filepath.Join(t.TempDir(), "state.db"), Config{})
	var mu sync.Mutex
	known := map[string]bool{}
	defer Watch(db, items, func(_, after *item) []string { return []string{after.ID} }, func(keys ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			known[key] = true
		}
	})()

	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := fmt.Sprint(i)
			if err := db.Update(func(tx *Tx) error { return items.Put(tx, &item{ID: id}) }); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !known[id] {
				t.Errorf("update %s returned before the watcher knew it", id)
			}
		})
	}
	all.Wait()
}
