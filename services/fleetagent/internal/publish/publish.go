// Package publish writes to the store what this host says about itself: its routes, its endpoints,
// the use of its blocks, and which change of the networks it has seen.
//
// What is to be written is kept here until the store has it, so that callers never wait for the
// store. Nothing is written before the host is registered, and each write requires that registration
// to be the latest. It is used by fleetagent.
package publish

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

// Limits of transactions.
const (
	chunk = 60
	retry = 500 * time.Millisecond
)

// Store is the fleet's store. It is implemented by etcd.Client.
type Store interface {
	Commit(ctx context.Context, conditions []etcd.Condition, changes ...etcd.Op) (bool, error)
}

// Known has the records of the store. It is implemented by mirror.Mirror.
type Known interface {
	Value(key string) (etcd.Value, bool)
	Values(prefix string) map[string]etcd.Value
}

// Publisher writes the records of one host. It is safe for concurrent use.
type Publisher struct {
	store Store
	known Known
	epoch string // key
	wake  notify.Signal

	mu         sync.Mutex
	registered int64             // epoch; 0: not yet
	wanted     map[string][]byte // by key; nil: no such record
	complete   map[string]bool   // prefixes of which wanted has all records
	pending    map[string]bool   // keys that the store may have differently
	later      map[string][]byte // hints that wait
	delayed    map[string]bool   // hints that were written a moment ago
	written    map[string][]byte // since the last comparison; nil: deleted. The known records can be older
}

// New returns a publisher that writes nothing yet. epoch is the key of the host's registration.
func New(store Store, known Known, epoch string) *Publisher {
	return &Publisher{store: store, known: known, epoch: epoch, wake: notify.NewSignal(), wanted: map[string][]byte{},
		complete: map[string]bool{}, pending: map[string]bool{}, written: map[string][]byte{},
		later: map[string][]byte{}, delayed: map[string]bool{}}
}

// Set sets records. A nil value means that there is none.
func (p *Publisher) Set(records map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, data := range records {
		p.wanted[key] = data
		p.pending[key] = true
	}
	p.wake.Notify()
}

// laterTime is the least time between writes of a record that is only a hint.
const laterTime = 5 * time.Second

// SetLater sets a record that is only a hint. It is written immediately if it was not written for some
// seconds, else when they have passed.
func (p *Publisher) SetLater(key string, data []byte) {
	p.mu.Lock()
	p.later[key] = data
	if p.delayed[key] {
		p.mu.Unlock()
		return
	}
	p.delayed[key] = true
	p.mu.Unlock()
	p.setNow(key)
}

// setNow sets the latest value of a hint, and again later if it has changed by then.
func (p *Publisher) setNow(key string) {
	p.mu.Lock()
	data, ok := p.later[key]
	delete(p.later, key)
	if !ok {
		delete(p.delayed, key)
	}
	p.mu.Unlock()
	if ok {
		p.Set(map[string][]byte{key: data})
		time.AfterFunc(laterTime, func() { p.setNow(key) })
	}
}

// Replace sets all records below a prefix: all others are removed.
func (p *Publisher) Replace(prefix string, records map[string][]byte) {
	p.mu.Lock()
	for key := range p.wanted {
		if strings.HasPrefix(key, prefix) && records[key] == nil {
			p.wanted[key] = nil
			p.pending[key] = true
		}
	}
	p.complete[prefix] = true
	p.mu.Unlock()
	p.Set(records)
	p.compare(prefix)
}

// Registered notes the epoch of the host's registration. After a new one everything is compared
// with the store.
func (p *Publisher) Registered(epoch int64) {
	p.mu.Lock()
	same := p.registered == epoch
	p.registered = epoch
	p.mu.Unlock()
	if !same {
		p.Compare()
	}
}

// Epoch returns the epoch of the host's registration, or 0.
func (p *Publisher) Epoch() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.registered
}

// Compare compares everything with the records of the store: they may have changed otherwise than by
// this host.
func (p *Publisher) Compare() {
	p.mu.Lock()
	p.written = map[string][]byte{}
	for key := range p.wanted {
		p.pending[key] = true
	}
	var prefixes []string
	for prefix := range p.complete {
		prefixes = append(prefixes, prefix)
	}
	p.mu.Unlock()
	for _, prefix := range prefixes {
		p.compare(prefix)
	}
	p.wake.Notify()
}

// compare finds records of the store that are not wanted.
func (p *Publisher) compare(prefix string) {
	stored := p.known.Values(prefix)
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range stored {
		if p.wanted[key] == nil {
			p.wanted[key] = nil
			p.pending[key] = true
		}
	}
	p.wake.Notify()
}

// Run writes until ctx ends. failed is called with the reason when the store refuses a write.
func (p *Publisher) Run(ctx context.Context, failed func(error)) {
	for {
		if err := p.wake.Wait(ctx, 0); err != nil {
			return
		}
		for ctx.Err() == nil {
			more, err := p.write(ctx)
			if err != nil {
				failed(err)
			}
			if !more {
				break
			}
			if err != nil {
				select {
				case <-ctx.Done():
				case <-time.After(retry):
				}
			}
		}
	}
}

// write writes some pending records. It reports whether there are more.
func (p *Publisher) write(ctx context.Context) (more bool, err error) {
	epoch, batch := p.batch()
	if epoch == 0 || len(batch) == 0 {
		return false, nil
	}
	var changes []etcd.Op
	for key, data := range batch {
		if p.has(key, data) {
			continue
		}
		if data == nil {
			changes = append(changes, etcd.Delete(key))
			continue
		}
		changes = append(changes, etcd.Put(key, data))
	}

	if len(changes) > 0 {
		ok, err := p.store.Commit(ctx, []etcd.Condition{etcd.Unchanged(p.epoch, epoch)}, changes...)
		if err != nil {
			return true, err
		}
		if !ok { // a new registration follows, and compares everything
			return false, nil
		}
	}
	return p.done(batch), nil
}

// has reports whether the store has a record, or with nil none, as far as is known.
func (p *Publisher) has(key string, data []byte) bool {
	p.mu.Lock()
	stored, written := p.written[key]
	p.mu.Unlock()
	if !written {
		if v, ok := p.known.Value(key); ok {
			stored = v.Data
		}
	}
	return (stored == nil) == (data == nil) && string(stored) == string(data)
}

// batch returns some pending records with the epoch.
func (p *Publisher) batch() (int64, map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := map[string][]byte{}
	for key := range p.pending {
		if len(batch) == chunk {
			break
		}
		batch[key] = p.wanted[key]
	}
	return p.registered, batch
}

// done notes that the store has records, unless they were changed meanwhile. It reports whether
// there are more.
func (p *Publisher) done(batch map[string][]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, data := range batch {
		p.written[key] = data
		now, ok := p.wanted[key]
		if !ok || string(now) != string(data) || (now == nil) != (data == nil) {
			continue
		}
		delete(p.pending, key)
		if data == nil {
			delete(p.wanted, key)
		}
	}
	return len(p.pending) > 0
}
