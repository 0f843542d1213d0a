// Package state keeps what an agent must not forget: go-memdb tables for reading, one bbolt file under them for durability.
//
// A transaction is on disk before Update returns; readers see it only then. Objects are never changed after they were put:
// to change one, put a changed copy. Each service declares its tables in its own store package, one file a table, and offers
// methods in the words of its domain; nothing else sees this package.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/fairlead/fairlead/agent/fault"
)

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = 500 * time.Millisecond

// DB is one durable file and the tables in it.
type DB struct {
	path string
	file *bolt.DB
	mem  *memdb.MemDB

	write sync.Mutex // one writer at a time, so that disk and memory commit in the same order
}

// Schema is a table as Open needs it; Table[T] is the only implementation.
type Schema interface {
	memSchema() *memdb.TableSchema
	decode(data []byte) (any, error)
}

// Open opens the file, makes it if it is not there, and loads the tables. It fails with a Busy fault if another process has
// it open, and leaves a file that it cannot read as it is.
func Open(path string, tables ...Schema) (*DB, error) {
	subject := "state file " + path
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot make its folder")
	}
	file, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fault.New(fault.Busy, subject, "another process has it open",
			fault.WithHint("stop the other agent, or give this one its own --data-root"))
	}
	if err != nil {
		return nil, fault.New(fault.Internal, subject, "cannot be opened", fault.WithCause(err),
			fault.WithHint("the file was left as it is; move it away to start with nothing"))
	}
	db := &DB{path: path, file: file}
	if err := db.load(tables); err != nil {
		_ = file.Close()
		return nil, err
	}
	return db, nil
}

// Close closes the file.
func (db *DB) Close() error { return db.file.Close() }

// load makes the buckets and fills the memory tables from them.
func (db *DB) load(tables []Schema) error {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, t := range tables {
		s := t.memSchema()
		schema.Tables[s.Name] = s
	}
	mem, err := memdb.NewMemDB(schema)
	if err != nil {
		return fmt.Errorf("state schema: %w", err)
	}
	txn := mem.Txn(true)
	defer txn.Abort()
	err = db.file.Update(func(tx *bolt.Tx) error {
		for _, t := range tables {
			name := t.memSchema().Name
			b, err := tx.CreateBucketIfNotExists([]byte(name))
			if err != nil {
				return err
			}
			if err := b.ForEach(func(k, v []byte) error {
				obj, err := t.decode(v)
				if err != nil {
					return fmt.Errorf("table %s, key %s: %w", name, k, err)
				}
				return txn.Insert(name, obj)
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Internal, "state file "+db.path, "cannot be read", fault.WithCause(err),
			fault.WithHint("the file was left as it is"))
	}
	txn.Commit()
	db.mem = mem
	return nil
}

// Reader is something that tables can be read through: a View's snapshot or an Update's transaction.
type Reader interface {
	txn() *memdb.Txn
}

// Snapshot is a view of all tables at one moment. It needs no closing.
type Snapshot struct{ t *memdb.Txn }

func (s Snapshot) txn() *memdb.Txn { return s.t }

// View gives the tables as they are now.
func (db *DB) View() Snapshot { return Snapshot{db.mem.Txn(false)} }

// Tx is a transaction of Update.
type Tx struct {
	t       *memdb.Txn
	changes []change
}

func (tx *Tx) txn() *memdb.Txn { return tx.t }

type change struct {
	table string
	key   string
	value []byte // nil deletes
}

// Update runs f in a transaction and commits it: to disk, then to memory. If f or the disk fails, nothing has changed.
// Writers wait for each other, so f must be short and must not call other services.
func (db *DB) Update(f func(tx *Tx) error) error {
	db.write.Lock()
	defer db.write.Unlock()
	tx := &Tx{t: db.mem.Txn(true)}
	defer tx.t.Abort()
	if err := f(tx); err != nil {
		return err
	}
	if len(tx.changes) == 0 {
		return nil
	}
	if err := db.file.Update(tx.apply); err != nil {
		return fault.New(fault.Unavailable, "state file "+db.path, "cannot be written", fault.WithCause(err),
			fault.WithHint("look for a full or read-only disk"))
	}
	tx.t.Commit()
	return nil
}

func (tx *Tx) apply(b *bolt.Tx) error {
	for _, c := range tx.changes {
		bucket := b.Bucket([]byte(c.table))
		if c.value == nil {
			if err := bucket.Delete([]byte(c.key)); err != nil {
				return err
			}
			continue
		}
		if err := bucket.Put([]byte(c.key), c.value); err != nil {
			return err
		}
	}
	return nil
}
