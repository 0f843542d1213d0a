package state

// Show commits a transaction to memory only: readers see it, the file does not have it. It is for what has happened already, such as the
// end of a process, while the disk refuses it. Whoever calls it keeps another trace for after a restart and tries Update again.
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
