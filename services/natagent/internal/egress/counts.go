package egress

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// maxCounted bounds the containers whose counters are read from the kernel.
const maxCounted = 2000

// Counts are the numbers of all policies.
type Counts struct {
	Policies   int
	Containers []ContainerCount  // sorted by owner
	Records    map[string]uint64 // by reason
	Lost       uint64
	Restores   uint64
}

// ContainerCount has the kernel's counters of a container's present policy.
type ContainerCount struct {
	Owner, Name      string
	Allowed, Refused uint64 // packets of new connections; all packets
}

// Counts returns the numbers of all policies. With an error those of the kernel are missing.
func (e *Enforcer) Counts() (Counts, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	records, lost := e.journal.counts()
	all := Counts{Policies: len(e.installed), Records: records, Lost: lost, Restores: e.restores}

	var errs []error
	for _, c := range e.installed {
		if len(all.Containers) == maxCounted {
			break
		}
		allowed, refused, err := e.kernel.counters(c)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all.Containers = append(all.Containers, ContainerCount{c.Owner, c.Name, allowed, refused})
	}
	slices.SortFunc(all.Containers, func(a, b ContainerCount) int { return strings.Compare(a.Owner, b.Owner) })
	return all, errors.Join(errs...)
}

// counters returns the sums of the counters of the rules of a container that allow, and of those that
// refuse packets.
func (k *kernel) counters(c *installed) (allowed, refused uint64, err error) {
	t := k.inet()
	for _, chain := range c.chains() {
		rules, err := k.conn.GetRules(t, &nftables.Chain{Name: chain.name, Table: t})
		if err != nil {
			return allowed, refused, err
		}
		for _, r := range rules {
			a, b := countersOf(r)
			allowed, refused = allowed+a, refused+b
		}
	}
	return allowed, refused, nil
}

// countersOf returns the counter of a rule that allows or refuses packets.
func countersOf(r *nftables.Rule) (allowed, refused uint64) {
	var packets uint64
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			packets = e.Packets
		case *expr.Verdict:
			switch {
			case e.Chain == chainRefused:
				return 0, packets
			case e.Kind == expr.VerdictAccept:
				return packets, 0
			}
		}
	}
	return 0, 0
}
