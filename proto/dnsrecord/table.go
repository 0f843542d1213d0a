package dnsrecord

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of a table.
const (
	MaxRecords = 10_000
	maxOfName  = 64
	// MaxChain bounds the aliases that are followed for one question.
	MaxChain = 8
)

// Entry is a record with its parsed data.
type Entry struct {
	Record
	Value
}

type key struct{ network, name string }

// Table finds records by network and name. Only Add changes it. The zero value is empty.
type Table struct {
	entries map[key][]Entry
	size    int
}

// NewTable returns a table of valid records. It omits records with invalid data.
func NewTable(records []Record) *Table {
	t := &Table{}
	for _, r := range records {
		t.put(r)
	}
	return t
}

func (t *Table) put(r Record) {
	v, err := r.Value()
	if err != nil {
		return
	}
	if t.entries == nil {
		t.entries = map[key][]Entry{}
	}
	k := key{r.Network, r.Name}
	t.entries[k] = append(t.entries[k], Entry{r, v})
	t.size++
}

// Find returns the records of a canonical name on a network, or with an empty network of all
// containers: those of the name itself, else those of the nearest wildcard.
func (t *Table) Find(network, name string) []Entry {
	if t == nil || t.size == 0 {
		return nil
	}
	if found := t.entries[key{network, name}]; found != nil {
		return found
	}
	for {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return nil
		}
		name = name[i+1:]
		if found := t.entries[key{network, wildcard + name}]; found != nil {
			return found
		}
	}
}

// Add adds a record that does not contradict the others.
func (t *Table) Add(r Record) error {
	if err := t.check(r); err != nil {
		return err
	}
	t.put(r)
	return nil
}

// check returns an error if a record contradicts those of the table.
func (t *Table) check(r Record) error {
	subject := "record " + r.Name + " " + string(r.Type)
	same := t.entries[key{r.Network, r.Name}]
	switch {
	case slices.ContainsFunc(same, func(e Entry) bool { return e.Type == r.Type && e.Data == r.Data }):
		return fault.New(fault.Exists, subject, r.Data+" already exists")
	case r.Type == CNAME && len(same) > 0 && same[0].Type == CNAME:
		return fault.New(fault.Conflict, subject, "a name has one CNAME record, this one has "+same[0].Data,
			fault.WithHint("remove that record first"))
	case r.Type == CNAME && len(same) > 0, len(same) > 0 && same[0].Type == CNAME:
		return fault.New(fault.Conflict, subject, "a name with a CNAME record has no other records, this one has "+
			string(same[0].Type)+" "+same[0].Data, fault.WithHint("remove that record first"))
	case len(same) >= maxOfName:
		return fault.New(fault.Exhausted, subject, fmt.Sprintf("the name has %d records, which is the limit",
			maxOfName))
	case t.size >= MaxRecords:
		return fault.New(fault.Exhausted, subject, fmt.Sprintf("there are %d records, which is the limit", MaxRecords))
	}
	if r.Type == CNAME {
		return t.checkChain(subject, r)
	}
	return nil
}

// checkChain follows the aliases from a new CNAME record, as a container on its network does.
func (t *Table) checkChain(subject string, r Record) error {
	path := []string{r.Name}
	for name := r.Data; ; {
		path = append(path, name)
		if name == r.Name || IsWildcard(r.Name) && strings.HasSuffix(name, r.Name[1:]) && t.Find(r.Network,
			name) == nil {
			return fault.Invalidf(subject, "data", "the aliases are a loop: %s", strings.Join(path, " -> "))
		}
		if len(path) > MaxChain+1 {
			return fault.Invalidf(subject, "data", "more than %d aliases in a row: %s", MaxChain,
				strings.Join(path, " -> "))
		}
		found := t.Find(r.Network, name)
		if found == nil {
			found = t.Find("", name)
		}
		if len(found) == 0 || found[0].Type != CNAME {
			return nil
		}
		name = found[0].Target
	}
}
