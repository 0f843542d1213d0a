package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// Table stores objects of one type. The type must survive a JSON round trip.
type Table[T any] struct {
	name    string
	key     func(*T) string
	indexes []Index[T]
}

// Index finds objects by other values than the key. Of returns the values of an object; empty
// values are ignored.
type Index[T any] struct {
	Name string
	Of   func(*T) []string
}

// NewTable returns a table. The key must be unique and not empty. The name is also the bucket name
// in the file and must never change.
func NewTable[T any](name string, key func(*T) string, indexes ...Index[T]) *Table[T] {
	return &Table[T]{name: name, key: key, indexes: indexes}
}

// Get returns the object with a key. Callers must not modify it.
func (t *Table[T]) Get(r Reader, key string) (*T, bool) {
	obj, err := r.txn().First(t.name, "id", key)
	if err != nil || obj == nil {
		return nil, false // err means a table that is missing in the schema, which Open detects
	}
	return obj.(*T), true
}

// All returns all objects, sorted by key. Callers must not modify them.
func (t *Table[T]) All(r Reader) iter.Seq[*T] { return t.iterate(r, "id_prefix", "") }

// By returns the objects that have a value in an index. Callers must not modify them.
func (t *Table[T]) By(r Reader, index, value string) iter.Seq[*T] { return t.iterate(r, index, value) }

func (t *Table[T]) iterate(r Reader, index, value string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		it, err := r.txn().Get(t.name, index, value)
		if err != nil {
			// a programming error, found by any test
			panic(fmt.Sprintf("state: table %s has no index %s", t.name, index))
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !yield(obj.(*T)) {
				return
			}
		}
	}
}

// Put stores an object and replaces the one with the same key. v must not be modified afterwards.
func (t *Table[T]) Put(tx *Tx, v *T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	var before any
	if had, ok := t.Get(tx, t.key(v)); ok {
		before = had
	}
	if err := tx.insert(t.name, v, before); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	tx.changes = append(tx.changes, record{t.name, t.key(v), data})
	return nil
}

// Delete removes the object with a key, and reports whether it existed.
func (t *Table[T]) Delete(tx *Tx, key string) (bool, error) {
	obj, ok := t.Get(tx, key)
	if !ok {
		return false, nil
	}
	if err := tx.remove(t.name, obj); err != nil {
		return false, fmt.Errorf("table %s: %w", t.name, err)
	}
	tx.changes = append(tx.changes, record{t.name, key, nil})
	return true, nil
}

// unknownField is the error for a record field that this agent does not know.
type unknownField struct{ name string }

func (u *unknownField) Error() string { return "unknown field " + u.name }

func (t *Table[T]) decode(data []byte, strict bool) (any, string, error) {
	v := new(T)
	in := json.NewDecoder(bytes.NewReader(data))
	if strict {
		in.DisallowUnknownFields()
	}
	if err := in.Decode(v); err != nil {
		// encoding/json has no error type for this
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return nil, "", &unknownField{field}
		}
		return nil, "", err
	}
	key := t.key(v)
	if key == "" {
		return nil, "", errors.New("the record has no key")
	}
	return v, key, nil
}

func (t *Table[T]) memSchema() *memdb.TableSchema {
	s := &memdb.TableSchema{Name: t.name, Indexes: map[string]*memdb.IndexSchema{
		"id": {Name: "id", Unique: true, Indexer: keyIndexer[T]{t.key}},
	}}
	for _, ix := range t.indexes {
		s.Indexes[ix.Name] = &memdb.IndexSchema{Name: ix.Name, AllowMissing: true, Indexer: manyIndexer[T]{ix.Of}}
	}
	return s
}

// keyIndexer indexes the key for memdb. Values end with a zero byte so that no key is a prefix of
// another.
type keyIndexer[T any] struct{ key func(*T) string }

func (k keyIndexer[T]) FromObject(obj any) (bool, []byte, error) {
	s := k.key(obj.(*T))
	return s != "", indexValue(s), nil
}

func (keyIndexer[T]) FromArgs(args ...any) ([]byte, error) { return argValue(args) }

func (keyIndexer[T]) PrefixFromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string)), nil
}

// manyIndexer adapts an Index to memdb.
type manyIndexer[T any] struct{ of func(*T) []string }

func (m manyIndexer[T]) FromObject(obj any) (bool, [][]byte, error) {
	var out [][]byte
	for _, s := range m.of(obj.(*T)) {
		if s != "" {
			out = append(out, indexValue(s))
		}
	}
	return len(out) > 0, out, nil
}

func (manyIndexer[T]) FromArgs(args ...any) ([]byte, error) { return argValue(args) }

func indexValue(s string) []byte { return append([]byte(s), 0) }

func argValue(args []any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("want one argument, got %d", len(args))
	}
	s, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("want a string, got %T", args[0])
	}
	return indexValue(s), nil
}
