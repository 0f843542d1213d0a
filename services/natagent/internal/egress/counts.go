package egress

import (
	"fmt"
	"maps"
	"slices"

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
	allowed, refused, err := e.counters(c)
	return ContainerCount{c.Owner, c.Name, allowed, refused + e.servers.Refused(owner)}, err == nil, err
}
