package state

import "github.com/hashicorp/go-memdb"

// Show commits a transaction to memory only: readers and watchers see it, but the file does not contain it. It is for
// events that have already happened, such as the exit of a process, while the disk rejects writes. The caller must keep
// another record that survives a restart, and retry Update.
func (db *DB) Show(f func(tx *Tx) error) error {
	changes, watchers, err := db.show(f)
	report(watchers, changes)
	return err
}

func (db *DB) show(f func(tx *Tx) error) (memdb.Changes, []*watcher, error) {
	db.write.Lock()
	defer db.write.Unlock()
	tx := db.begin()
	defer tx.t.Abort()
	if err := f(tx); err != nil || len(tx.changes) == 0 {
		return nil, nil, err
	}
	changes := tx.t.Changes()
	tx.t.Commit()
	return changes, db.watchers, nil
}
