package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
)

// A backup is due once a day if there were commits, and when the log is long.
const (
	backupEvery = 24 * time.Hour
	checkEvery  = time.Hour
	longLog     = 16 << 20
)

// keeper creates the backups of a store.
type keeper struct {
	overdue bool   // due at the start
	base    uint64 // the serial of the last backup

	wake notify.Signal
	done chan struct{}
	all  sync.WaitGroup
	once sync.Once
}

func (k *keeper) start(db *DB) {
	k.wake, k.done = notify.NewSignal(), make(chan struct{})
	if k.overdue || db.backupDue() {
		k.wake.Notify()
	}
	k.all.Go(func() {
		tick := time.NewTicker(checkEvery)
		defer tick.Stop()
		for {
			select {
			case <-k.done:
				return
			case <-k.wake:
				k.check(db, true)
			case <-tick.C:
				k.check(db, false)
			}
		}
	})
}

func (k *keeper) stop() {
	k.once.Do(func() { close(k.done) })
	k.all.Wait()
}

// requestBackup requests a backup soon.
func (k *keeper) requestBackup() {
	k.wake.Notify()
}

func (k *keeper) check(db *DB, now bool) {
	if !now && !db.backupDue() {
		return
	}
	if err := db.backUp(); err != nil {
		db.log.Warn("backup failed, retrying in an hour", "path", db.path, "error", err)
	}
}

// backupDue reports whether the last backup is too old.
func (db *DB) backupDue() bool {
	db.write.Lock()
	defer db.write.Unlock()
	if db.journal == nil || db.journal.lost {
		return true
	}
	if db.serial == db.keeper.base {
		return false
	}
	info, err := os.Stat(db.place.backup())
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(db.path) // a new store: its log is complete
	}
	return err == nil && time.Since(info.ModTime()) > backupEvery
}

// backUp creates a backup and starts a new log. Commits only wait while the new log is started.
func (db *DB) backUp() error {
	next := db.place.log() + ".new"
	tx, err := db.beginLog(next)
	if err != nil {
		return err
	}
	err = errors.Join(snapshotOf(tx, db.place.backup()+".new"), tx.Rollback())
	if err == nil {
		err = db.rotate()
	}
	if err == nil {
		err = os.Rename(next, db.place.log())
	}
	if err != nil {
		db.write.Lock()
		db.journal.lost = true
		db.write.Unlock()
	}
	return fault.Wrap(errors.Join(err, syncDir(filepath.Join(db.root, backupName))), fault.Unavailable,
		"backup "+db.place.backup(), "cannot be written")
}

// beginLog starts a log based on the current state and returns a transaction that reads this state.
func (db *DB) beginLog(path string) (*bolt.Tx, error) {
	db.write.Lock()
	defer db.write.Unlock()
	if db.damaged != nil {
		return nil, db.damaged
	}
	log, err := newJournalWriter(path, journal{Generation: db.generation, Base: db.serial})
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "log "+path, "cannot be written")
	}
	tx, err := db.file.Begin(false)
	if err != nil {
		return nil, errors.Join(err, log.close())
	}
	_ = db.journal.close()
	db.journal, db.keeper.base = log, db.serial
	return tx, nil
}

// rotate replaces the last backup by the new one. It keeps the last one if it is at least a day
// old.
func (db *DB) rotate() error {
	last := db.place.backup()
	if info, err := os.Stat(last); err == nil && time.Since(info.ModTime()) >= backupEvery {
		if err := os.Rename(last, db.place.previous()); err != nil {
			return err
		}
	}
	return os.Rename(last+".new", last)
}

// snapshot copies a database to a path.
func snapshot(file *bolt.DB, path string) error {
	return file.View(func(tx *bolt.Tx) error { return snapshotOf(tx, path) })
}

func snapshotOf(tx *bolt.Tx, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next := path + ".part"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = tx.WriteTo(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, path)
}
