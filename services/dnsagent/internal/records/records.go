// Package records holds the records and forwards of administrators: those that were added, in the
// store, and those of the configuration file. It finds them for containers on networks.
//
// It does not know DNS messages. Package api changes them, package resolvers reads them.
package records

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
)

// Store stores what was added. Package store implements it.
type Store interface {
	Records() []dnsrecord.Record
	PutRecords([]dnsrecord.Record) error
	DeleteRecords([]dnsrecord.Record) error
	Forwards() []dnsrecord.Forward
	PutForward(dnsrecord.Forward) error
}

// Configured holds the valid records and forwards of the configuration file.
type Configured struct {
	Records  []dnsrecord.Record
	Forwards []dnsrecord.Forward
}

// Records holds all records and forwards. It is safe for concurrent use.
type Records struct {
	store Store

	mu  sync.Mutex // serializes changes
	now atomic.Pointer[snapshot]
}

// snapshot is the state at one moment. It never changes.
type snapshot struct {
	configured         Configured
	added, fixed       *dnsrecord.Table    // from the store, from the configuration file
	addedFwd, fixedFwd *dnsrecord.Forwards // likewise
}

// New returns the records of a store and of a configuration.
func New(store Store, configured Configured) *Records {
	r := &Records{store: store}
	r.load(configured)
	return r
}

// load reads the store. mu must be held, except by New.
func (r *Records) load(c Configured) {
	r.now.Store(&snapshot{configured: c, added: dnsrecord.NewTable(r.store.Records()),
		fixed: dnsrecord.NewTable(c.Records), addedFwd: dnsrecord.NewForwards(r.store.Forwards()),
		fixedFwd: dnsrecord.NewForwards(c.Forwards)})
}

// Configure replaces those of the configuration file.
func (r *Records) Configure(c Configured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load(c)
}

// reload reads the store after a change. mu must be held.
func (r *Records) reload() { r.load(r.now.Load().configured) }

// Add adds records, all or none.
func (r *Records) Add(all []dnsrecord.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := dnsrecord.NewTable(r.store.Records())
	for _, one := range all {
		if err := next.Add(one); err != nil {
			return err
		}
	}
	if err := r.store.PutRecords(all); err != nil {
		return err
	}
	r.reload()
	return nil
}

// Selector selects the records of one name. An empty type or data selects all.
type Selector struct {
	Network, Name string
	Type          dnsrecord.Type
	Data          string
}

func (s Selector) matches(r dnsrecord.Record) bool {
	return r.Network == s.Network && r.Name == s.Name && (s.Type == "" || r.Type == s.Type) &&
		(s.Data == "" || r.Data == s.Data)
}

// Remove removes added records and returns them.
func (r *Records) Remove(s Selector) (removed []dnsrecord.Record, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.store.Records() {
		if s.matches(one) {
			removed = append(removed, one)
		}
	}
	if len(removed) == 0 {
		subject := strings.TrimSpace("record " + s.Name + " " + string(s.Type))
		return nil, missing(subject, slices.ContainsFunc(r.now.Load().configured.Records, s.matches))
	}
	if err := r.store.DeleteRecords(removed); err != nil {
		return nil, err
	}
	r.reload()
	return removed, nil
}

// missing returns the error for something that was not added.
func missing(subject string, configured bool) error {
	if configured {
		return fault.New(fault.Conflict, subject, "is in the configuration file",
			fault.WithHint("change the file and reload it"))
	}
	return fault.NotFoundf(subject, "does not exist")
}

// Listed is a record with its origin.
type Listed struct {
	dnsrecord.Record
	Configured bool
}

// List returns all records, or those of one network, sorted by network, name, type and data.
func (r *Records) List(network string) (all []Listed) {
	add := func(records []dnsrecord.Record, configured bool) {
		for _, one := range records {
			if network == "" || one.Network == network {
				all = append(all, Listed{one, configured})
			}
		}
	}
	add(r.store.Records(), false)
	add(r.now.Load().configured.Records, true)
	slices.SortStableFunc(all, func(a, b Listed) int { return strings.Compare(a.Key(), b.Key()) })
	return all
}

// Key returns the position in a list.
func (l Listed) Key() string {
	return strings.Join([]string{l.Network, l.Name, string(l.Type), l.Data, origin(l.Configured)}, "\n")
}

func origin(configured bool) string {
	if configured {
		return "configured"
	}
	return "added"
}
