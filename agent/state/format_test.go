package state_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/agent/state"
)

func TestUnreadableRecordSetAside(t *testing.T) {
	path := fileWith(t, 3)
	raw(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("pets")).Put([]byte("b"), []byte("{")) })
	for range 2 {
		table := pets()
		db := open(t, path, table)
		if got := ids(db, table); got != "ac" {
			t.Errorf("got records %q, want ac", got)
		}
		closed(t, db)
	}
	raw(t, path, func(tx *bolt.Tx) error {
		if note := tx.Bucket([]byte("fairlead.aside")).Get([]byte("pets/b")); !bytes.Contains(note,
			[]byte(`"record":"{"`)) {
			t.Errorf("got %s aside", note)
		}
		return nil
	})
}

func raw(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	file, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, file.Update(f))
	must(t, file.Close())
}

// oldFile creates a file as agents made it before there were formats.
func oldFile(t *testing.T, records map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pets.db")
	raw(t, path, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("pets"))
		for k, v := range records {
			err = errors.Join(err, b.Put([]byte(k), []byte(v)))
		}
		return err
	})
	return path
}

func TestOldFormatUpgraded(t *testing.T) {
	path := oldFile(t, map[string]string{"a": `{"ID":"a","Dropped":1}`, "b": `{"ID":"b"}`})
	table := pets()
	db := open(t, path, table)
	if got := ids(db, table); got != "ab" {
		t.Errorf("got records %q, want ab", got)
	}
	closed(t, db)
	if _, err := os.Stat(path + ".v1"); err != nil {
		t.Error(err)
	}
	raw(t, path+".v1", func(tx *bolt.Tx) error {
		if tx.Bucket([]byte("fairlead.meta")) != nil {
			t.Error("the old file was not kept as it was")
		}
		return nil
	})
}

func TestOldAgentsFileRefusedAfterUpgrade(t *testing.T) {
	path, table := oldFile(t, map[string]string{"a": `{"ID":"a"}`}), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{ID: "b"})
	closed(t, db)
	write(t, path, read(t, path+".v1"))
	if _, err := state.Open(path, pets()); err == nil ||
		!strings.Contains(err.Error(), "written by an older agent, after a newer one") {
		t.Errorf("got %v", err)
	}
	// To restore it is to accept it.
	from := t.TempDir()
	write(t, filepath.Join(from, "pets.db"), read(t, path))
	if _, _, err := state.Restore(filepath.Dir(path), from); err != nil {
		t.Fatal(err)
	}
	table = pets()
	if got := ids(open(t, path, table), table); got != "a" {
		t.Errorf("got records %q, want a", got)
	}
}

// An agent that knows of no format decodes every entry of every table, and fails at the first
// that is not a valid record.
func TestOldAgentRefusesNewFormat(t *testing.T) {
	path := fileWith(t, 1)
	raw(t, path, func(tx *bolt.Tx) error {
		mark := tx.Bucket([]byte("pets")).Get([]byte("!format"))
		if len(mark) == 0 || mark[0] == '{' {
			t.Errorf("got mark %q, want one that is not a record", mark)
		}
		return nil
	})
}

func TestNewerStoreRefused(t *testing.T) {
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"format": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("fairlead.meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 3})
		},
		"version": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("fairlead.meta")).Put([]byte("version"), []byte{0, 0, 0, 0, 0, 0, 0, 2})
		},
		"field": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("pets")).Put([]byte("a"), []byte(`{"ID":"a","Sources":["10.0.0.0/8"]}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWith(t, 2)
			raw(t, path, change)
			before := read(t, path)
			for _, choice := range []state.Choice{state.Refuse, state.Recover, state.StartEmpty} {
				if _, err := (state.Config{Choice: choice}).Open(path, pets()); err == nil ||
					!strings.Contains(err.Error(), "newer agent") {
					t.Errorf("choice %d: got %v", choice, err)
				}
			}
			if !bytes.Equal(read(t, path), before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestVersionUpgradesRecords(t *testing.T) {
	path, table := fileWith(t, 2), pets()
	upgrade := func(from int, _ string, record []byte) ([]byte, error) {
		return bytes.Replace(record, []byte(`"Names":null`), []byte(`"Names":["old"]`), 1), nil
	}
	for range 2 {
		db, err := state.Config{Version: 2, Upgrade: upgrade}.Open(path, table)
		must(t, err)
		if n := len(slices.Collect(table.By(db.View(), "name", "old"))); n != 2 {
			t.Errorf("got %d upgraded records, want 2", n)
		}
		closed(t, db)
	}
	if _, err := os.Stat(path + ".v1"); err != nil {
		t.Error(err)
	}
}

func TestTruncatedUnderUpdate(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "pets.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{ID: "a"})
	must(t, os.Truncate(path, 4096))
	err := db.Update(func(tx *state.Tx) error { return table.Put(tx, &pet{ID: "b"}) })
	if err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("got %v", err)
	}
}
