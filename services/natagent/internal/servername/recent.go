package servername

// recent remembers connections for at least one period, which ends with age, unless there are too many. The zero value
// is empty.
type recent[V any] struct{ present, former map[connection]V }

// get returns the value of a connection.
func (r *recent[V]) get(key connection) (v V, ok bool) {
	if v, ok = r.present[key]; !ok {
		v, ok = r.former[key]
	}
	return v, ok
}

// put remembers a connection.
func (r *recent[V]) put(key connection, v V) {
	if len(r.present) >= maxFlows {
		r.age(false)
	}
	if r.present == nil {
		r.present = map[connection]V{}
	}
	r.present[key] = v
}

// remove forgets a connection.
func (r *recent[V]) remove(key connection) {
	delete(r.present, key)
	delete(r.former, key)
}

// age starts a period, and forgets what was put before the last one, or if that was long, all.
func (r *recent[V]) age(long bool) {
	r.present, r.former = nil, r.present
	if long {
		r.former = nil
	}
}
