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

// Table describes how objects of one type are kept. The type must survive a JSON round trip.
type Table[T any] struct {
	name    string
	key     func(*T) string
	indexes []Index[T]
}

// Index finds objects by something else than their key. Of gives the values under which an object is found; empty ones are
// left out.
type Index[T any] struct {
	Name string
	Of   func(*T) []string
}

// NewTable describes a table. key must be unique and never empty. The name is also the bucket's in the file: never change it.
func NewTable[T any](name string, key func(*T) string, indexes ...Index[T]) *Table[T] {
	return &Table[T]{name: name, key: key, indexes: indexes}
}

// Get gives the object with that key. It must not be changed.
func (t *Table[T]) Get(r Reader, key string) (*T, bool) {
	obj, err := r.txn().First(t.name, "id", key)
	if err != nil || obj == nil {
		return nil, false // err only means a table that is not in the schema, which Open would have shown
	}
	return obj.(*T), true
}

// All gives all objects, by key. They must not be changed.
func (t *Table[T]) All(r Reader) iter.Seq[*T] { return t.iterate(r, "id_prefix", "") }

// By gives the objects that an index has under a value. They must not be changed.
func (t *Table[T]) By(r Reader, index, value string) iter.Seq[*T] { return t.iterate(r, index, value) }

func (t *Table[T]) iterate(r Reader, index, value string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		it, err := r.txn().Get(t.name, index, value)
		if err != nil {
			panic(fmt.Sprintf("state: table %s has no index %s", t.name, index)) // a programming error, found by any test
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !yield(obj.(*T)) {
				return
			}
		}
	}
}

// Put stores an object, in place of the one with the same key if there is one. v must not be changed afterwards.
func (t *Table[T]) Put(tx *Tx, v *T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	if err := tx.t.Insert(t.name, v); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	tx.changes = append(tx.changes, record{t.name, t.key(v), data})
	return nil
}

// Delete removes the object with that key, and tells whether there was one.
func (t *Table[T]) Delete(tx *Tx, key string) (bool, error) {
	obj, ok := t.Get(tx, key)
	if !ok {
		return false, nil
	}
	if err := tx.t.Delete(t.name, obj); err != nil {
		return false, fmt.Errorf("table %s: %w", t.name, err)
	}
	tx.changes = append(tx.changes, record{t.name, key, nil})
	return true, nil
}

// unknownField is a field of a record that this agent does not know.
type unknownField struct{ name string }

func (u *unknownField) Error() string { return "unknown field " + u.name }

func (t *Table[T]) decode(data []byte, strict bool) (any, string, error) {
	v := new(T)
	in := json.NewDecoder(bytes.NewReader(data))
	if strict {
		in.DisallowUnknownFields()
	}
	if err := in.Decode(v); err != nil {
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // encoding/json has no type for it
			return nil, "", &unknownField{field}
		}
		return nil, "", err
	}
	key := t.key(v)
	if key == "" {
		return nil, "", errors.New("it has no key")
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

// keyIndexer is memdb's view of the key. Values end with a zero byte so that no key is a prefix of another.
type keyIndexer[T any] struct{ key func(*T) string }

func (k keyIndexer[T]) FromObject(obj any) (bool, []byte, error) {
	s := k.key(obj.(*T))
	return s != "", indexValue(s), nil
}

func (keyIndexer[T]) FromArgs(args ...any) ([]byte, error) { return argValue(args) }

func (keyIndexer[T]) PrefixFromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string)), nil
}

// manyIndexer is memdb's view of an Index.
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
