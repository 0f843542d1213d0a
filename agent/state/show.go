package state

// Show commits a transaction to memory only: readers and watchers see it, but the file does not contain it. It is for
// events that have already happened, such as the exit of a process, while the disk rejects writes. The caller must keep
// another record that survives a restart, and retry Update.
func (db *DB) Show(f func(tx *Tx) error) error {
	changes, watchers, err := db.transact(f, func(*Tx) error { return nil })
	report(watchers, changes)
	return err
}
