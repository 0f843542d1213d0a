package egress

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/id"
)

// maxCounted bounds the containers whose counters are read from the kernel: the first ones by owner.
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

// Counts returns the numbers of all policies. The error is the first one of containers whose counters
// are missing. Name servers and launches wait for the counters of one container at most.
func (e *Enforcer) Counts() (all Counts, failed error) {
	e.mu.Lock()
	owners := slices.Sorted(maps.Keys(e.installed))
	restores := e.restores
	e.mu.Unlock()
	records, lost := e.journal.Counts()
	all = Counts{Policies: len(owners), Records: records, Lost: lost, Restores: restores}

	for _, owner := range owners[:min(len(owners), maxCounted)] {
		one, ok, err := e.count(owner)
		if err != nil && failed == nil {
			failed = fmt.Errorf("counters of container %s: %w", id.Short(owner), err)
		}
		if ok {
			all.Containers = append(all.Containers, one)
		}
	}
	return all, failed
}

// count returns the counters of a container. ok is false if its policy is gone meanwhile.
func (e *Enforcer) count(owner string) (one ContainerCount, ok bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.installed[owner]
	if c == nil {
		return one, false, nil
	}
	allowed, refused, err := e.kernel.counters(c)
	return ContainerCount{c.Owner, c.Name, allowed, refused + e.servers.Refused(owner)}, err == nil, err
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
			case e.Kind == expr.VerdictAccept, e.Chain == chainChecked:
				return packets, 0
			}
		}
	}
	return 0, 0
}
