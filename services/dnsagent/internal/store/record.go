package store

import (
	"strings"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/dnsrecord"
)

// newRecords returns the table of records: network, name, type and data -> Record.
func newRecords() *state.Table[dnsrecord.Record] {
	return state.NewTable("records", func(r *dnsrecord.Record) string { return recordKey(*r) })
}

func recordKey(r dnsrecord.Record) string {
	return strings.Join([]string{r.Network, r.Name, string(r.Type), r.Data}, " ")
}

// newForwards returns the table of forwards: network and domain -> Forward.
func newForwards() *state.Table[dnsrecord.Forward] {
	return state.NewTable("forwards", func(f *dnsrecord.Forward) string { return f.Network + " " + f.Domain })
}

// Records returns all records of administrators.
func (s *Store) Records() (all []dnsrecord.Record) {
	for r := range s.records.All(s.db.View()) {
		all = append(all, *r)
	}
	return all
}

// PutRecords stores records.
func (s *Store) PutRecords(all []dnsrecord.Record) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, r := range all {
			if err := s.records.Put(tx, &r); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteRecords deletes records. It does nothing for those that do not exist.
func (s *Store) DeleteRecords(all []dnsrecord.Record) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, r := range all {
			if _, err := s.records.Delete(tx, recordKey(r)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forwards returns all forwards of administrators.
func (s *Store) Forwards() (all []dnsrecord.Forward) {
	for f := range s.forwards.All(s.db.View()) {
		all = append(all, *f)
	}
	return all
}

// PutForward stores a forward and replaces the one with the same network and domain. Without servers
// it deletes that one.
func (s *Store) PutForward(f dnsrecord.Forward) error {
	return s.db.Update(func(tx *state.Tx) error {
		if len(f.Servers) == 0 {
			_, err := s.forwards.Delete(tx, f.Network+" "+f.Domain)
			return err
		}
		return s.forwards.Put(tx, &f)
	})
}
