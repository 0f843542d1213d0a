package state

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"
)

// maxBatch bounds the updates of one commit.
const maxBatch = 256

// Tx is a transaction of Update.
type Tx struct {
	t       *memdb.Txn
	changes []record
	undo    []func() error // of each change
}

func (tx *Tx) txn() *memdb.Txn { return tx.t }

// insert stores an object in place of the one before, or nil.
func (tx *Tx) insert(table string, v, before any) error {
	if err := tx.t.Insert(table, v); err != nil {
		return err
	}
	tx.undo = append(tx.undo, func() error {
		if before == nil {
			return tx.t.Delete(table, v)
		}
		return tx.t.Insert(table, before)
	})
	return nil
}

// remove removes an object.
func (tx *Tx) remove(table string, v any) error {
	if err := tx.t.Delete(table, v); err != nil {
		return err
	}
	tx.undo = append(tx.undo, func() error { return tx.t.Insert(table, v) })
	return nil
}

// update is a call of Update.
type update struct {
	f        func(*Tx) error
	ran      bool // the fields below are valid; db.write must be held
	changed  bool
	err      error
	panicked any
	reported chan struct{} // closed when the watchers know the changes
}

// queue has updates in order. It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	waiting []*update
}

func (q *queue) add(u *update) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, u)
}

// take removes the first updates.
func (q *queue) take() []*update {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), maxBatch)
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// Update runs f in a transaction and commits it: to disk, then to memory. Then it reports the changes to the watchers.
// If f or the disk fails, nothing changes. Updates are serialized, so f must be short and must not call other services.
// Those that wait at the same time are committed together, with one write to disk: another goroutine can run f.
func (db *DB) Update(f func(tx *Tx) error) error {
	u := &update{f: f, reported: make(chan struct{})}
	db.queue.add(u)
	for !db.runBatch(u) {
	}
	<-u.reported
	if u.panicked != nil {
		panic(u.panicked)
	}
	return u.err
}

// runBatch runs the updates that wait, unless another goroutine has run u meanwhile. It reports whether u has run.
func (db *DB) runBatch(u *update) (ran bool) {
	var batch []*update
	defer func() {
		for _, u := range batch {
			close(u.reported)
		}
	}()
	var changes memdb.Changes
	var watchers []*watcher
	func() {
		db.write.Lock()
		defer db.write.Unlock()
		if ran = u.ran; !ran {
			batch = db.queue.take()
			changes, watchers = db.runAll(batch)
			ran = u.ran
		}
	}()
	report(watchers, changes)
	return ran
}

// runAll runs updates and commits them together. Those that fail change nothing. It returns the changes if there are
// watchers. write must be held.
func (db *DB) runAll(batch []*update) (memdb.Changes, []*watcher) {
	tx := db.begin()
	defer tx.t.Abort()
	for _, u := range batch {
		tx.run(u)
	}
	if len(tx.changes) == 0 {
		return nil, nil
	}

	if err := db.timedCommit(tx.changes); err != nil {
		failed := false
		for _, u := range batch {
			if failed = failed || u.changed; failed && u.err == nil { // a later one can depend on an earlier one
				u.err = err
			}
		}
		return nil, nil
	}
	changes := tx.t.Changes()
	tx.t.Commit()
	return changes, db.watchers
}

// begin begins a transaction. write must be held.
func (db *DB) begin() *Tx {
	tx := &Tx{t: db.mem.Txn(true)}
	if len(db.watchers) > 0 {
		tx.t.TrackChanges()
	}
	return tx
}

// run runs an update. If it fails, its changes are undone.
func (tx *Tx) run(u *update) {
	changes := len(tx.changes)
	tx.undo = nil
	defer func() {
		if u.panicked = recover(); u.panicked == nil && u.err == nil {
			u.changed = len(tx.changes) > changes
			return
		}
		for _, undo := range slices.Backward(tx.undo) {
			if err := undo(); err != nil {
				panic(err) // the schema rejects an object that it had accepted
			}
		}
		tx.changes = tx.changes[:changes]
	}()
	u.ran = true
	u.err = u.f(tx)
}

// timedCommit stores changes and reports the time.
func (db *DB) timedCommit(changes []record) error {
	began := time.Now()
	err := db.commit(changes, nil)
	if db.committed != nil {
		db.committed(time.Since(began), err)
	}
	return err
}
