package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// format is the format of files that this package writes. Files of format 1 have no meta bucket and
// no marks.
const format = 2

// The bucket with the metadata of the file, and its keys.
var (
	metaBucket    = []byte("fairlead.meta")
	generationKey = []byte("generation")
	serialKey     = []byte("serial")
	formatKey     = []byte("format")
	versionKey    = []byte("version")
)

// markKey is present in every table. Its value is not a valid record, so agents that only know
// format 1 reject the file.
var (
	markKey   = []byte("!format")
	markValue = []byte(`"this file has format 2 and needs a newer agent"`)
)

// asideBucket holds records that cannot be read, under TABLE/KEY.
var asideBucket = []byte("fairlead.aside")

// info holds the metadata of a file.
type info struct {
	generation      string
	serial          uint64
	format, version int
	records         int // in tables
	empty           bool
}

// fileInfo reads the metadata of a file.
func fileInfo(tx *bolt.Tx) (info, error) {
	in := info{format: 1, version: 1, empty: true}
	if b := tx.Bucket(metaBucket); b != nil {
		in.generation = string(b.Get(generationKey))
		in.serial = number(b.Get(serialKey))
		in.format, in.version = int(number(b.Get(formatKey))), int(number(b.Get(versionKey)))
		in.empty = false
	}
	err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		if string(name) == string(metaBucket) || string(name) == string(asideBucket) {
			return nil
		}
		in.empty = false
		return b.ForEach(func(k, _ []byte) error {
			if string(k) != string(markKey) {
				in.records++
			}
			return nil
		})
	})
	return in, err
}

// readInfo reads the metadata of a file that no process has open. ok is false if it is not a
// complete state file.
func readInfo(path string) (in info, ok bool) {
	if verify(path) != nil {
		return in, false
	}
	err := guarded(func() error {
		file, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
		if err != nil {
			return err
		}
		err = file.View(func(tx *bolt.Tx) error {
			var err error
			in, err = fileInfo(tx)
			return err
		})
		return errors.Join(err, file.Close())
	})
	return in, err == nil && !in.empty
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func numberBytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// putMeta writes the metadata of the current format.
func putMeta(tx *bolt.Tx, generation string, version int) error {
	b, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	return errors.Join(b.Put(generationKey, []byte(generation)), b.Put(formatKey, numberBytes(format)),
		b.Put(versionKey, numberBytes(uint64(version))))
}

// putSerial stores the number of the last commit.
func putSerial(tx *bolt.Tx, serial uint64) error {
	b, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	return b.Put(serialKey, numberBytes(serial))
}

// putTable creates the bucket of a table with its mark.
func putTable(tx *bolt.Tx, name string) error {
	b, err := tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	return b.Put(markKey, markValue)
}

// apply applies a commit to a file.
func (c commit) apply(tx *bolt.Tx) error {
	for _, r := range c.Changes {
		b := tx.Bucket([]byte(r.Table))
		if b == nil {
			return fmt.Errorf("no table %s", r.Table)
		}
		var err error
		if r.Value == nil {
			err = b.Delete([]byte(r.Key))
		} else {
			err = b.Put([]byte(r.Key), r.Value)
		}
		if err != nil {
			return err
		}
	}
	return putSerial(tx, c.Serial)
}

// replay applies commits to a file, which can be new, in order.
func replay(file *bolt.DB, generation string, commits []commit) error {
	return file.Update(func(tx *bolt.Tx) error {
		in, err := fileInfo(tx)
		if err != nil {
			return err
		}
		if in.format < format {
			if err := putMeta(tx, generation, 1); err != nil {
				return err
			}
		}
		for _, c := range commits {
			for _, r := range c.Changes {
				if err := putTable(tx, r.Table); err != nil {
					return err
				}
			}
			if err := c.apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// putAside moves an unreadable record out of its table.
func putAside(tx *bolt.Tx, table, key string, value []byte, why error) error {
	b, err := tx.CreateBucketIfNotExists(asideBucket)
	if err != nil {
		return err
	}
	note, err := json.Marshal(map[string]any{"at": time.Now().UTC(), "why": why.Error(), "record": string(value)})
	if err != nil {
		return err
	}
	return b.Put([]byte(table+"/"+key), note)
}
