// Package hostinfo holds what a host publishes about itself: it says which events follow from a change, and which
// hosts have a broken data path. It is pure. It is used by fleetagent.
package hostinfo

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Event is an event of the fleet.
type Event struct {
	Action     string
	Attributes map[string]string
}

// Hosts holds the other hosts of the fleet.
type Hosts struct {
	Known map[string]bool // by ID; true: alive
	// Decided is set if the data path to each host that is alive was checked. Otherwise a host without a problem may
	// be one that was not checked yet.
	Decided bool
}

// Others returns the hosts besides this one, of which netagent has checked a number.
func Others(v *view.View, own string, probed int) Hosts {
	alive, out := 0, Hosts{Known: map[string]bool{}}
	for id := range v.Hosts() {
		if id == own {
			continue
		}
		if out.Known[id] = v.Alive(id); out.Known[id] {
			alive++
		}
	}
	out.Decided = probed >= alive
	return out
}

// Keep adds to after the earlier problems that are not shown to be solved: those of hosts that are not alive, and of
// hosts that may not be checked yet. A problem is solved if the host is alive and its packets arrive.
func Keep(before, after *fleetv1.HostInfo, hosts Hosts) {
	reported := byHost(after)
	for _, p := range before.GetProblems() {
		alive, known := hosts.Known[p.GetHostId()]
		if known && reported[p.GetHostId()] == "" && !(alive && hosts.Decided) {
			after.Problems = append(after.Problems, p)
		}
	}
	slices.SortFunc(after.GetProblems(), func(a, b *fleetv1.PathProblem) int {
		return strings.Compare(a.GetHostId(), b.GetHostId())
	})
}

// Changes returns the events of a change. before is nil if nothing was published. name returns the name of a host.
// The problem of a host that has left the fleet ends without an event.
func Changes(before, after *fleetv1.HostInfo, hosts Hosts, name func(id string) string) (all []Event) {
	was, is := byHost(before), byHost(after)
	for _, p := range after.GetProblems() {
		if was[p.GetHostId()] != p.GetReason() {
			all = append(all, Event{"path_broken", map[string]string{"to": name(p.GetHostId()),
				"reason": p.GetReason()}})
		}
	}
	for _, p := range before.GetProblems() {
		if is[p.GetHostId()] == "" && hosts.Known[p.GetHostId()] {
			all = append(all, Event{"path_restored", map[string]string{"to": name(p.GetHostId())}})
		}
	}
	if before == nil || before.GetUnderlayMtu() == after.GetUnderlayMtu() {
		return all
	}
	mtu := func(i *fleetv1.HostInfo) string { return strconv.FormatUint(uint64(i.GetUnderlayMtu()), 10) }
	if after.GetUnderlayMtu() == 0 { // no interface has the address
		return append(all, Event{"underlay_lost", map[string]string{"last_mtu": mtu(before)}})
	}
	return append(all, Event{"underlay_changed", map[string]string{"last_mtu": mtu(before), "mtu": mtu(after)}})
}

func byHost(info *fleetv1.HostInfo) map[string]string {
	all := map[string]string{}
	for _, p := range info.GetProblems() {
		all[p.GetHostId()] = p.GetReason()
	}
	return all
}

// Problems sets the problems of hosts: those that a host reports, and those of other hosts with it. Hosts that are
// not alive have none, because their packets are lost anyway. info returns the record that a host has published.
func Problems(hosts []*fleetv1.Host, info func(id string) *fleetv1.HostInfo) {
	alive := map[string]*fleetv1.Host{}
	for _, h := range hosts {
		if h.GetState() == fleetv1.HostState_HOST_STATE_ALIVE {
			alive[h.GetId()] = h
		}
	}
	add := func(on, other *fleetv1.Host, p *fleetv1.PathProblem) {
		if !slices.ContainsFunc(on.Problems,
			func(q *fleetv1.PathProblem) bool { return q.GetHostId() == other.GetId() }) {
			on.Problems = append(on.Problems, &fleetv1.PathProblem{HostId: other.GetId(), Name: other.GetName(),
				Reason: p.GetReason(), ClosedPorts: p.GetClosedPorts()})
		}
	}
	for _, h := range hosts {
		for _, p := range info(h.GetId()).GetProblems() {
			if other := alive[p.GetHostId()]; other != nil && alive[h.GetId()] != nil {
				add(h, other, p)
				add(other, h, p)
			}
		}
	}
	for _, h := range hosts {
		slices.SortFunc(h.Problems, func(a, b *fleetv1.PathProblem) int {
			return strings.Compare(a.GetName(),
				b.GetName())
		})
	}
}

// Same reports whether the same was published before.
func Same(before, after *fleetv1.HostInfo) bool { return before != nil && proto.Equal(before, after) }
