// Package mirror keeps this host's view of its fleet equal to the store, saves it to disk, and
// streams it to the services of the host.
//
// While the store is away, the view stays as it was last. The package does not write to the store.
// It is used by fleetagent.
package mirror

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/replica"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Limits of streams.
const (
	logSize   = 1024 // deltas that are kept for slow clients
	chunkSize = 1000 // records of a message of a full state
)

// Config configures a mirror.
type Config struct {
	Keys                       record.Keys
	Fleet, Host, Name, Address string
	Path                       string // of the file; empty: none
	Log                        *slog.Logger
	Now                        func() time.Time
	// Emit emits an event of the fleet.
	Emit func(action string, attributes map[string]string)
	// Restored is called with the records that a store which was restored from a backup lacks. They
	// stay in the view for a while.
	Restored func(missing []etcd.Value)
	// Reached is called with nil when the store answers, and with an error when it does not.
	Reached func(error)
}

// Mirror is the copy of a fleet's records. It is safe for concurrent use.
type Mirror struct {
	cfg Config

	mu      sync.Mutex
	view    *view.View
	raw     map[string]etcd.Value // what the view was made of
	at      etcd.Position
	deltas  []view.Delta    // the last ones
	first   uint64          // the number of deltas[0]
	changed chan struct{}   // closed with the next change
	dirty   bool            // the file is older than raw
	synced  bool            // the store was read in this process
	held    map[string]bool // keys that a restored store lacks, and that are kept for a while
}

// New returns a mirror with the records of the file.
func New(cfg Config) *Mirror {
	m := &Mirror{cfg: cfg, raw: map[string]etcd.Value{}, held: map[string]bool{}, changed: make(chan struct{}),
		view: view.New(cfg.Keys, cfg.Fleet, cfg.Host, cfg.Name, cfg.Address)}
	var all []etcd.Value
	if cfg.Path != "" {
		var lost int
		var err error
		if all, m.at, lost, err = replica.Load(cfg.Path); err != nil || lost > 0 {
			cfg.Log.Warn("copy of the store is incomplete", "records_lost", lost, "error", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replace(all, m.at)
	return m
}

// Reset replaces all records.
func (m *Mirror) Reset(all []etcd.Value, at etcd.Position) {
	m.mu.Lock()
	var missing []etcd.Value
	restored := false
	if m.at.Cluster != 0 && (m.at.Cluster != at.Cluster || at.Revision < m.at.Revision) {
		m.cfg.Log.Warn("store was replaced or restored from a backup", "revision", at.Revision,
			"last_revision", m.at.Revision)
		restored = true
		missing = m.hold(all)
	}
	for key := range m.held {
		all = append(all, m.raw[key])
	}
	m.synced = true
	d := m.replace(all, at)
	m.mu.Unlock()
	if restored {
		m.cfg.Emit("store_restored", nil)
		time.AfterFunc(holdTime, m.drop)
		m.cfg.Restored(missing)
	}
	m.report(d)
	m.cfg.Reached(nil)
}

// replace applies the difference between the known and the given records. The lock must be held.
func (m *Mirror) replace(all []etcd.Value, at etcd.Position) view.Delta {
	var changes []etcd.Change
	present := make(map[string]bool, len(all))
	for _, v := range all {
		present[v.Key] = true
		if known, ok := m.raw[v.Key]; !ok || known.Revision != v.Revision || string(known.Data) != string(v.Data) {
			changes = append(changes, etcd.Change{Value: v})
		}
	}
	for key := range m.raw {
		if !present[key] {
			changes = append(changes, etcd.Change{Value: etcd.Value{Key: key, Revision: at.Revision}, Deleted: true})
		}
	}
	return m.apply(changes, at)
}

// Apply changes records.
func (m *Mirror) Apply(changes []etcd.Change, at etcd.Position) {
	m.mu.Lock()
	d := m.apply(changes, at)
	m.mu.Unlock()
	m.report(d)
}

// Unreachable notes why the store cannot be reached.
func (m *Mirror) Unreachable(err error) { m.cfg.Reached(err) }

// apply changes records. The lock must be held.
func (m *Mirror) apply(changes []etcd.Change, at etcd.Position) view.Delta {
	list := make([]view.Change, 0, len(changes))
	for _, c := range changes {
		delete(m.held, c.Key)
		if c.Deleted {
			delete(m.raw, c.Key)
		} else {
			m.raw[c.Key] = c.Value
		}
		list = append(list, view.Change{Key: c.Key, Data: c.Data, Revision: c.Revision, Deleted: c.Deleted})
	}
	m.at, m.dirty = at, true
	d := m.view.Apply(list, m.cfg.Now())
	m.add(d)
	return d
}

// add appends a delta and wakes all who wait. The lock must be held.
func (m *Mirror) add(d view.Delta) {
	if d.Overlay != nil || d.Endpoints != nil {
		if len(m.deltas) == 2*logSize {
			m.deltas = slices.Clone(m.deltas[logSize:])
			m.first += logSize
		}
		m.deltas = append(m.deltas, d)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// report logs what a delta says. The lock must not be held.
func (m *Mirror) report(d view.Delta) {
	for _, key := range slices.Sorted(maps.Keys(d.Damaged)) {
		m.cfg.Log.Error("record set aside, the last good one stays in use", "key", key, "error", d.Damaged[key])
		m.cfg.Emit("record_damaged", map[string]string{"key": key, "error": d.Damaged[key]})
	}
	if d.AlarmStarted {
		m.cfg.Log.Error("many hosts lost, nothing changes", "hosts", strings.Join(d.Lost, ","))
		m.cfg.Emit("hosts_lost", map[string]string{"hosts": strings.Join(d.Lost, ",")})
	}
	if d.AlarmEnded {
		m.cfg.Log.Info("lost hosts returned")
		m.cfg.Emit("hosts_returned", nil)
	}
}

// Read calls a function with the view, which must not be used afterwards.
func (m *Mirror) Read(f func(*view.View)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.view)
}

// SetRemoved notes whether this host was removed from the fleet.
func (m *Mirror) SetRemoved(removed bool) {
	m.mu.Lock()
	d, changed := m.view.SetRemoved(removed)
	if changed {
		m.add(d)
	}
	m.mu.Unlock()
	if changed && removed {
		m.cfg.Log.Error("this host was removed from its fleet, its containers lose the networks of the fleet")
		m.cfg.Emit("removed", nil)
	}
}

// SetMark notes that this host has a network, or has it no more.
func (m *Mirror) SetMark(network string, up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(m.view.SetMark(network, up))
}

// Request asks the services of this host for a block.
func (m *Mirror) Request(r *fleetv1.BlockRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(view.Delta{Overlay: &fleetv1.WatchOverlayResponse{Synced: true, Requests: []*fleetv1.BlockRequest{r}}})
}

// Values returns the records below a prefix, by key.
func (m *Mirror) Values(prefix string) map[string]etcd.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]etcd.Value{}
	for key, v := range m.raw {
		if strings.HasPrefix(key, prefix) {
			found[key] = v
		}
	}
	return found
}

// Value returns one record.
func (m *Mirror) Value(key string) (etcd.Value, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.raw[key]
	return v, ok
}

// Synced reports whether the store was read in this process.
func (m *Mirror) Synced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced
}

// Changed returns a channel that is closed with the next change.
func (m *Mirror) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Await waits until a condition holds. It reports whether it does: ctx can end before.
func (m *Mirror) Await(ctx context.Context, holds func(*view.View) bool) bool {
	for {
		m.mu.Lock()
		ok, changed := holds(m.view), m.changed
		m.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}
