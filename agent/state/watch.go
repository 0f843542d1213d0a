package state

import (
	"slices"

	"github.com/hashicorp/go-memdb"
)

// watcher is one call of Watch.
type watcher struct {
	table   string
	changed func(before, after any)
}

// Watch calls add with the keys of changed records of a table, after each Update and Show, until stop is called. keys
// returns the keys of one record: before is nil if the record is new, after is nil if it was deleted. Several changes
// of a record in updates that are committed together are one change. Records that are stored already are not reported:
// list them after Watch.
//
// Both functions are called before Update returns, by any goroutine that updates, concurrently with other changes. They
// must not modify the records, nor wait for a lock that is held during an Update. They must be fast, because each
// commit waits for them. They can use the database, but must not update the table that they watch. The method Add of a
// controller is a valid add.
//
// Without a watch, commits have no additional cost.
func Watch[T any, K comparable](db *DB, t *Table[T], keys func(before, after *T) []K, add func(...K)) (stop func()) {
	w := &watcher{table: t.name, changed: func(before, after any) {
		// A failed type assertion leaves nil: memdb uses a nil interface for a missing record.
		old, _ := before.(*T)
		now, _ := after.(*T)
		if changed := keys(old, now); len(changed) > 0 {
			add(changed...)
		}
	}}

	db.write.Lock()
	defer db.write.Unlock()
	db.watchers = append(slices.Clip(db.watchers), w) // report reads the former slice without a lock
	return func() { db.unwatch(w) }
}

func (db *DB) unwatch(w *watcher) {
	db.write.Lock()
	defer db.write.Unlock()
	db.watchers = slices.DeleteFunc(slices.Clone(db.watchers), func(other *watcher) bool { return other == w })
}

// report calls the given watchers. write must not be held.
func report(watchers []*watcher, changes memdb.Changes) {
	for _, c := range changes {
		for _, w := range watchers {
			if w.table == c.Table {
				w.changed(c.Before, c.After)
			}
		}
	}
}
