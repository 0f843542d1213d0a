package zone

import (
	"hash/maphash"
	"maps"
)

// shardCount is the number of shards of a table. A change copies the list of shards and the shards
// it touches: with ten thousand names, a few hundred entries.
const shardCount = 256

// table is a map with cheap changed copies. The zero value is empty.
type table[K comparable, V any] struct {
	seed   *maphash.Seed // shared by all copies of the table; nil while empty
	shards *[shardCount]map[K]V
}

func (t table[K, V]) get(key K) (v V, ok bool) {
	if t.seed == nil {
		return v, false
	}
	v, ok = t.shards[shardOf(t.seed, key)][key]
	return v, ok
}

func shardOf[K comparable](seed *maphash.Seed, key K) uint64 {
	return maphash.Comparable(*seed, key) % shardCount
}

// edit is a changed copy of a table in the making.
type edit[K comparable, V any] struct {
	table[K, V]
	copied [shardCount]bool
}

// edit is a changed copy of a table that is being built.
func (t table[K, V]) edit() *edit[K, V] {
	e := &edit[K, V]{table: table[K, V]{t.seed, new([shardCount]map[K]V)}}
	if t.seed == nil {
		seed := maphash.MakeSeed()
		e.seed = &seed
		return e
	}
	*e.shards = *t.shards
	return e
}

func (e *edit[K, V]) own(key K) map[K]V {
	i := shardOf(e.seed, key)
	if !e.copied[i] {
		e.shards[i], e.copied[i] = maps.Clone(e.shards[i]), true
		if e.shards[i] == nil {
			e.shards[i] = map[K]V{}
		}
	}
	return e.shards[i]
}

func (e *edit[K, V]) put(key K, v V) { e.own(key)[key] = v }

func (e *edit[K, V]) delete(key K) { delete(e.own(key), key) }

// done returns the copy, which must not be changed afterwards.
func (e *edit[K, V]) done() table[K, V] { return e.table }
