// Package others holds the containers of other hosts on networks that this host has too, for rules that
// name containers and labels.
//
// It performs no I/O. Package follow applies the changes that fleetagent sends; package policies reads the
// containers. What is known remains while fleetagent is away.
package others

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// Others holds the containers of other hosts. It is safe for concurrent use.
type Others struct {
	mu        sync.Mutex
	hosts     map[string]string // names by ID
	endpoints map[agents.OtherKey]agents.Other
	next      *Others // a full state that is not complete
	now       State
}

// State holds the containers that are known at one time. Callers must not modify it.
type State struct {
	Known   bool // a full state was received
	Version uint64
	Members []policy.Member // sorted by host and ID
}

// New returns Others without containers. known says that there are none, and that none follow.
func New(known bool) *Others { o := empty(); o.now.Known = known; return o }

func empty() *Others {
	return &Others{hosts: map[string]string{}, endpoints: map[agents.OtherKey]agents.Other{}}
}

// State returns what is known now.
func (o *Others) State() State {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// Apply applies a change. A full state in several parts replaces the former one when it is complete. changed
// reports whether State returns another one.
func (o *Others) Apply(c agents.OthersChange) (changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.Reset {
		o.next = empty()
	}
	to := cmp.Or(o.next, o)
	to.add(c)
	if !c.Complete {
		return false
	}
	if o.next != nil {
		o.hosts, o.endpoints, o.next = o.next.hosts, o.next.endpoints, nil
	}
	o.now = State{Known: true, Version: o.now.Version + 1, Members: o.members()}
	return true
}

func (o *Others) add(c agents.OthersChange) {
	maps.Copy(o.hosts, c.Hosts)
	for _, id := range c.RemovedHosts {
		delete(o.hosts, id)
		maps.DeleteFunc(o.endpoints, func(k agents.OtherKey, _ agents.Other) bool { return k.Host == id })
	}
	for _, k := range c.Removed {
		delete(o.endpoints, k)
	}
	for _, e := range c.Put {
		o.endpoints[e.OtherKey] = e
	}
}

// members returns the containers of all endpoints.
func (o *Others) members() (all []policy.Member) {
	keys := slices.SortedFunc(maps.Keys(o.endpoints), func(a, b agents.OtherKey) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Network, b.Network))
	})
	for i, k := range keys {
		e := o.endpoints[k]
		if i == 0 || keys[i-1].Host != k.Host || keys[i-1].Owner != k.Owner {
			all = append(all, policy.Member{ID: e.Owner, Name: e.Name, Labels: e.Labels,
				Node: cmp.Or(o.hosts[e.Host], e.Host)})
		}
		m := &all[len(all)-1]
		m.Endpoints = append(m.Endpoints, endpoint(e))
	}
	return all
}

func endpoint(e agents.Other) container.Endpoint {
	out := container.Endpoint{NetworkID: e.Network, NetworkName: e.NetworkName}
	for _, a := range e.Addresses {
		text := netip.PrefixFrom(a, a.BitLen()).String()
		if a.Is4() {
			out.IPv4 = text
		} else {
			out.IPv6 = text
		}
	}
	return out
}
