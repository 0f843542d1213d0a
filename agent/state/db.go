package state

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/proto/fault"
)

// DB is one state file with its tables. It is safe for concurrent use.
type DB struct {
	place
	log  *slog.Logger
	file *bolt.DB
	mem  *memdb.MemDB

	generation string

	queue   queue      // updates that wait for write
	write   sync.Mutex // one writer at a time, so that disk, log and memory commit in the same order
	serial  uint64     // of the last commit
	journal *journalWriter
	damaged error // error of bbolt while writing; the file must not be used afterwards
	// watchers is replaced, never modified, when a watch starts or stops.
	watchers []*watcher
	keeper   keeper

	committed func(took time.Duration, err error) // nil: none
}

// Schema is a table as Open needs it. Table[T] is the only implementation.
type Schema interface {
	memSchema() *memdb.TableSchema
	// decode returns a record and its key. With strict, an unknown field is an unknownField error.
	decode(data []byte, strict bool) (obj any, key string, err error)
}

// Close closes the file.
func (db *DB) Close() error {
	db.keeper.stop()
	db.write.Lock()
	defer db.write.Unlock()
	if db.damaged != nil {
		return db.journal.close() // bbolt keeps its locks when it panics
	}
	return errors.Join(db.journal.close(), db.file.Close())
}

// Reader is a read transaction: a Snapshot or a Tx.
type Reader interface {
	txn() *memdb.Txn
}

// Snapshot is a consistent view of all tables. It does not need to be closed.
type Snapshot struct{ t *memdb.Txn }

func (s Snapshot) txn() *memdb.Txn { return s.t }

// View returns a snapshot of the current tables.
func (db *DB) View() Snapshot { return Snapshot{db.mem.Txn(false)} }

// commit writes changes to disk, together with the changes of also, in one transaction. write must
// be held, unless db is not shared yet.
func (db *DB) commit(changes []record, also func(*bolt.Tx) error) error {
	c := commit{Serial: db.serial + 1, Changes: changes}
	err := db.damaged
	if err == nil {
		err = crashpoint.Before(crashpoint.Store, db.name)
	}
	if err == nil {
		err = db.apply(c, also)
	}
	if err != nil {
		return fault.New(fault.Unavailable, db.subject(), "cannot be written", fault.WithCause(err),
			fault.WithHint("check whether the disk is full or read-only"))
	}
	db.serial = c.Serial
	_ = crashpoint.After(crashpoint.Store, db.name) // the commit is on disk and can no longer fail
	db.journal.append(c)
	_ = crashpoint.After(crashpoint.Store, db.name+" logged")
	if db.journal != nil && db.journal.size > longLog {
		db.keeper.requestBackup()
	}
	return nil
}

func (db *DB) apply(c commit, also func(*bolt.Tx) error) error {
	err := guarded(func() error {
		return db.file.Update(func(tx *bolt.Tx) error {
			if err := c.apply(tx); err != nil || also == nil {
				return err
			}
			return also(tx)
		})
	})
	if _, ok := errors.AsType[*loss](err); ok {
		db.damaged = err
	}
	return err
}
