package state

// Show commits a transaction to memory only: readers see it, but the file does not contain it. It
// is for events that have already happened, such as the exit of a process, while the disk rejects
// writes. The caller must keep another record that survives a restart, and retry Update.
func (db *DB) Show(f func(tx *Tx) error) error {
	db.write.Lock()
	defer db.write.Unlock()
	tx := &Tx{t: db.mem.Txn(true)}
	defer tx.t.Abort()
	if err := f(tx); err != nil {
		return err
	}
	tx.t.Commit()
	return nil
}
