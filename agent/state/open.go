package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Choice determines what Open does with a lost or outdated store.
type Choice int

// The choices.
const (
	Refuse     Choice = iota // return an error that names the choices
	Recover                  // rebuild it from the backup and the log of commits; set the file aside
	StartEmpty               // set it aside with its backups, and start without records
)

// Config configures Open. The zero value rejects lost stores and has records of version 1.
type Config struct {
	Choice Choice
	// Evidence describes existing data that the store must have records of, such as "2 container
	// directories". It is empty if there is none. It is called if the store has no records. Nil
	// means no data.
	Evidence func() string
	Log      *slog.Logger // nil discards
	// Committed is called after each attempt to store a change. Nil means no function.
	Committed func(took time.Duration, err error)

	Version int // of the records; 0 means 1
	// Upgrade converts a record of an earlier version to Version. Nil keeps records unchanged.
	Upgrade func(from int, table string, record []byte) ([]byte, error)
}

// Open opens a store with the zero Config.
func Open(path string, tables ...Schema) (*DB, error) { return Config{}.Open(path, tables...) }

// Open opens the file, creates it on a new host, and loads the tables. A Busy fault means that
// another process has it open. A file that is not the last state of this host is rejected and left
// unchanged, unless c has a Choice. An unreadable record is logged and set aside in the file; the
// others are loaded.
func (c Config) Open(path string, tables ...Schema) (*DB, error) {
	c.Version = cmp.Or(c.Version, 1)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	o := &opener{Config: c, place: placeOf(path), tables: tables}
	if err := o.inspect(); err != nil {
		return nil, err
	}
	db, err := o.open()
	if lost, ok := errors.AsType[*loss](err); ok {
		if err := o.choose(lost); err != nil {
			return nil, err
		}
		db, err = o.open()
	}
	if lost, ok := errors.AsType[*loss](err); ok {
		err = o.refusal(lost)
	}
	return db, err
}

// opener is one call of Open.
type opener struct {
	Config
	place
	tables []Schema

	generation string  // of the data root; empty on a new host
	journal    journal // of this generation
	backedUp   bool    // a backup or a log exists
	chosen     bool    // a store without records is accepted
}

// loss is the reason why a store is not the last state of its host.
type loss struct {
	why      string
	panicked bool
}

func (l *loss) Error() string { return l.why }

// inspect reads the generation and the log of the store.
func (o *opener) inspect() error {
	if err := os.MkdirAll(o.root, 0o700); err != nil {
		return fault.Wrap(err, fault.Unavailable, o.subject(), "directory cannot be created")
	}
	if err := o.free(); err != nil {
		return err
	}
	var err error
	if o.generation, err = Generation(o.root); err != nil {
		return err
	}
	if o.journal, err = readJournal(o.log()); err != nil {
		o.Config.Log.Warn("cannot read commit log, continuing without it", "path", o.log(), "error", err)
	}
	_, berr := os.Stat(o.backup())
	o.backedUp = berr == nil || o.journal.Generation != ""
	if o.generation == "" {
		o.generation = o.journal.Generation
	}
	if o.journal.Generation != o.generation {
		o.journal = journal{}
	}
	return nil
}

// lockTimeout is the time that Open waits for another process to close the file.
const lockTimeout = 500 * time.Millisecond

// free fails if another process has the store open. bbolt also locks the file, but maps it first.
func (o *opener) free() error {
	f, err := os.Open(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, o.subject(), "cannot be opened")
	}
	defer func() { _ = f.Close() }()
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil // closing the file unlocks it
		}
		if time.Now().After(deadline) {
			return o.busy()
		}
	}
}

func (o *opener) busy() error {
	return fault.New(fault.Busy, o.subject(), "is open in another process",
		fault.WithHint("stop the other agent, or use another --data-root"))
}

// open opens the store unchanged. A *loss is returned if it is not the last state.
func (o *opener) open() (*DB, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	file, err := openBolt(o.path)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, o.busy()
	}
	if err != nil {
		return nil, &loss{why: "is damaged: " + err.Error()}
	}
	reserve(o.path, o.Config.Log)
	db := &DB{place: o.place, file: file, log: o.Config.Log, committed: o.Committed}
	if err := guarded(func() error { return o.fill(db) }); err != nil {
		if lost, ok := errors.AsType[*loss](err); ok && lost.panicked {
			return nil, err // bbolt keeps its locks when it panics, so Close would hang
		}
		return nil, errors.Join(err, file.Close())
	}
	db.keeper.start(db)
	return db, nil
}

// check verifies the file before it is mapped, and removes an empty one on a new host.
func (o *opener) check() error {
	err := verify(o.path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil:
		return nil
	case missing || errors.Is(err, errEmpty):
		if reason := o.expected(); reason != "" {
			word := "is empty"
			if missing {
				word = "is missing"
			}
			return &loss{why: word + ", but " + reason}
		}
		if missing {
			return nil
		}
		return os.Remove(o.path)
	}
	return &loss{why: "is damaged: " + err.Error()}
}

// expected returns the reason why the store must have existed before. It is empty if the store can
// be new.
func (o *opener) expected() string {
	if o.chosen {
		return ""
	}
	if o.Evidence != nil {
		if found := o.Evidence(); found != "" {
			return "there is data that belongs to it: " + found
		}
	}
	if o.backedUp {
		return "there is a backup of it"
	}
	return ""
}

func openBolt(path string) (file *bolt.DB, err error) {
	err = guarded(func() error {
		var oerr error
		file, oerr = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType,
			NoFreelistSync: true})
		return oerr
	})
	return file, err
}

// guarded converts a panic of bbolt, or a page fault in the mapped file, to an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &loss{why: fmt.Sprintf("is damaged: %v", r), panicked: true}
		}
	}()
	return f()
}
