package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/go-memdb"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/proto/fault"
)

// fill compares the file with the generation and the log, updates it and loads the tables.
func (o *opener) fill(db *DB) error {
	var in info
	if err := db.file.View(func(tx *bolt.Tx) (err error) { in, err = fileInfo(tx); return err }); err != nil {
		return err
	}
	missed, err := o.compare(in)
	if err != nil {
		return err
	}
	if db.generation, err = claimGeneration(o.root, in.generation); err != nil {
		return err
	}
	if in.generation != "" && in.generation != db.generation && !o.chosen {
		return o.foreign(in.generation, db.generation)
	}
	if err := o.upgrade(db, in, missed); err != nil {
		return err
	}
	db.serial = in.serial + uint64(len(missed))
	aside, err := o.load(db, in.format)
	if err != nil {
		return err
	}
	if err := o.startLog(db, in); err != nil {
		return err
	}
	return o.setAside(db, aside)
}

// compare returns the commits that the file is missing, or an error if it is not the last state.
func (o *opener) compare(in info) (missed []commit, err error) {
	if in.format > format || in.version > o.Version {
		return nil, o.newer(fmt.Sprintf("format %d, version %d; this agent reads format %d, version %d",
			in.format, in.version, format, o.Version))
	}
	if reason := o.expected(); reason != "" && (in.empty || in.format == 1 && in.records == 0 && o.Evidence != nil) {
		return nil, &loss{why: "has no records, but " + reason}
	}
	if in.generation != "" && o.generation != "" && in.generation != o.generation && !o.chosen {
		return nil, o.foreign(in.generation, o.generation)
	}
	if in.format < format && !in.empty && o.journal.Generation != "" && !o.chosen {
		return nil, &loss{why: "was written by an older agent, after a newer one"}
	}
	if in.serial >= o.journal.last() {
		return nil, nil
	}
	missed, ok := o.journal.after(in.serial)
	if !ok {
		return nil, &loss{why: fmt.Sprintf("is older than its log: %d of %d commits", in.serial, o.journal.last())}
	}
	return missed, nil
}

func (o *opener) foreign(file, root string) error {
	return &loss{why: fmt.Sprintf("is from another host or another time: its generation is %.12s, that of the data "+
		"root %.12s", file, root)}
}

func (o *opener) newer(what string) error {
	hint := "start the newer agent"
	if _, err := os.Stat(o.oldFormat()); err == nil {
		hint += ", or restore the state of the older one: fairlead-agent restore " + o.oldFormat()
	}
	return fault.New(fault.Conflict, o.subject(), "was written by a newer agent: "+what, fault.WithHint("%s", hint))
}

// upgrade updates format, version and records, and applies missing commits.
func (o *opener) upgrade(db *DB, in info, missed []commit) error {
	newFormat, newVersion := in.format < format, in.version < o.Version
	if !in.empty && (newFormat || newVersion) {
		if err := o.keepOld(db.file); err != nil {
			return err
		}
	}
	if len(missed) > 0 {
		o.Config.Log.Warn("state was older than its log, commits replayed", "path", o.path, "commits", len(missed))
		if err := replay(db.file, db.generation, missed); err != nil {
			return err
		}
	}
	if !newFormat && !newVersion && in.generation == db.generation && o.complete(db.file) {
		return nil
	}
	return db.file.Update(func(tx *bolt.Tx) error {
		for _, t := range o.tables {
			if err := putTable(tx, t.memSchema().Name); err != nil {
				return err
			}
			if newVersion && o.Upgrade != nil {
				if err := o.upgradeTable(tx, t.memSchema().Name, in.version); err != nil {
					return err
				}
			}
		}
		return putMeta(tx, db.generation, o.Version)
	})
}

// complete reports whether the file has all tables.
func (o *opener) complete(file *bolt.DB) bool {
	all := true
	_ = file.View(func(tx *bolt.Tx) error {
		for _, t := range o.tables {
			all = all && tx.Bucket([]byte(t.memSchema().Name)) != nil
		}
		return nil
	})
	return all
}

func (o *opener) upgradeTable(tx *bolt.Tx, table string, from int) error {
	b, after := tx.Bucket([]byte(table)), map[string][]byte{}
	err := b.ForEach(func(k, v []byte) error {
		if string(k) == string(markKey) {
			return nil
		}
		next, err := o.Upgrade(from, table, v)
		if err != nil {
			return fmt.Errorf("table %s, record %s: cannot be upgraded: %w", table, k, err)
		}
		after[string(k)] = next
		return nil
	})
	for k, v := range after {
		err = errors.Join(err, b.Put([]byte(k), v))
	}
	return err
}

// keepOld copies the file for the agent that wrote it. An earlier copy is kept because it is older.
func (o *opener) keepOld(file *bolt.DB) error {
	if _, err := os.Stat(o.oldFormat()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.Wrap(snapshot(file, o.oldFormat()), fault.Unavailable, o.subject(),
		"cannot be copied to "+o.oldFormat())
}

// unreadable is a record that cannot be decoded.
type unreadable struct {
	table, key string
	value      []byte
	why        error
}

// load fills the memory tables.
func (o *opener) load(db *DB, before int) (aside []unreadable, err error) {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, t := range o.tables {
		s := t.memSchema()
		schema.Tables[s.Name] = s
	}
	if db.mem, err = memdb.NewMemDB(schema); err != nil {
		return nil, fmt.Errorf("state schema: %w", err)
	}
	txn := db.mem.Txn(true)
	defer txn.Abort()
	err = db.file.View(func(tx *bolt.Tx) error {
		for _, t := range o.tables {
			more, err := o.loadTable(txn, tx, t, before >= format)
			if err != nil {
				return err
			}
			aside = append(aside, more...)
		}
		return nil
	})
	if err == nil {
		txn.Commit()
	}
	return aside, err
}

// loadTable loads one table. With strict, a record with unknown fields is an error.
func (o *opener) loadTable(txn *memdb.Txn, tx *bolt.Tx, t Schema, strict bool) (aside []unreadable, err error) {
	name := t.memSchema().Name
	err = tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
		if string(k) == string(markKey) {
			return nil
		}
		obj, key, err := t.decode(v, strict)
		if field, ok := errors.AsType[*unknownField](err); ok {
			return o.newer(fmt.Sprintf("table %s, record %s has the unknown field %s", name, k, field.name))
		}
		if err == nil && key != string(k) {
			err = fmt.Errorf("the record has the key %q", key)
		}
		if err == nil {
			err = txn.Insert(name, obj)
		}
		if err != nil {
			aside = append(aside, unreadable{name, string(k), append([]byte(nil), v...), err})
		}
		return nil
	})
	return aside, err
}

// setAside moves unreadable records out of their tables, in a commit of its own.
func (o *opener) setAside(db *DB, records []unreadable) error {
	if len(records) == 0 {
		return nil
	}
	var changes []record
	for _, r := range records {
		o.Config.Log.Error("record cannot be read, set aside", "path", o.path, "table", r.table, "key", r.key, "error",
			r.why)
		changes = append(changes, record{Table: r.table, Key: r.key})
	}
	return db.commit(changes, func(tx *bolt.Tx) error {
		for _, r := range records {
			if err := putAside(tx, r.table, r.key, r.value, r.why); err != nil {
				return err
			}
		}
		return nil
	})
}

// startLog continues the log of commits, or requests a backup, which starts a new log.
func (o *opener) startLog(db *DB, in info) (err error) {
	switch {
	case in.format == format && in.version == o.Version && o.journal.Generation == db.generation &&
		o.journal.last() == db.serial:
		db.journal, err = continueJournal(o.log(), o.journal)
		db.keeper.base = o.journal.Base
	case in.empty:
		db.journal, err = newJournalWriter(o.log(), journal{Generation: db.generation})
	default:
		db.keeper.overdue = true
	}
	if err != nil {
		o.Config.Log.Warn("cannot write commit log, recovery depends on backups", "path", o.log(), "error", err)
		db.keeper.overdue = true
	}
	return nil
}
