// Package quorum decides which managers vote in the fleet's store. The number of voters is odd,
// because two are less available than one: with an even number of managers, one of them only
// follows, as an etcd learner, until there is another manager.
//
// The package is pure. It is used by fleetagent, which applies one step at a time.
package quorum

import (
	"cmp"
	"slices"
)

// Member is a member of the store.
type Member struct {
	ID      uint64
	Name    string // the ID of its host; empty until it has started
	PeerURL string
	Learner bool
	Started bool // it has joined the other members
	Leader  bool
}

// Manager is a host that is to be a member.
type Manager struct {
	Host    string
	PeerURL string
	Alive   bool
}

// Kind is the kind of a step.
type Kind int

// The kinds of steps.
const (
	None    Kind = iota
	Add          // add a learner for Manager
	Start        // start the store of Manager as Member
	Promote      // make Member a voter
	Remove       // remove Member
)

// Step is a change of the members.
type Step struct {
	Kind    Kind
	Manager Manager
	Member  Member
}

// Voters returns the number of voters for a number of managers.
func Voters(managers int) int {
	if managers > 0 && managers%2 == 0 {
		return managers - 1
	}
	return managers
}

// Next returns the steps that are due, in the order in which they are to be tried. A step that
// cannot be made, because its host does not answer, must not stop the next one.
func Next(managers []Manager, members []Member) []Step {
	managers, members = slices.Clone(managers), slices.Clone(members)
	slices.SortFunc(managers, func(a, b Manager) int { return cmp.Compare(a.Host, b.Host) })
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.PeerURL, b.PeerURL) })
	managerOf := func(m Member) (Manager, bool) {
		i := slices.IndexFunc(managers, func(x Manager) bool { return x.PeerURL == m.PeerURL })
		if i < 0 {
			return Manager{}, false
		}
		return managers[i], true
	}

	var voters, learners, dismissed []Member
	for _, m := range members {
		_, known := managerOf(m)
		switch {
		case !known:
			dismissed = append(dismissed, m)
		case m.Learner:
			learners = append(learners, m)
		default:
			voters = append(voters, m)
		}
	}

	var steps []Step
	if len(voters) < Voters(len(managers)) {
		for _, m := range learners {
			if host, _ := managerOf(m); m.Started && host.Alive {
				steps = append(steps, Step{Promote, host, m})
			}
		}
	}
	if len(voters) > 0 { // the last voter stays until another one votes
		for _, m := range dismissed {
			steps = append(steps, Step{Kind: Remove, Member: m})
		}
	}
	steps = append(steps, starting(managers, members)...)
	if len(voters) > max(1, Voters(len(managers))) && len(dismissed) == 0 {
		steps = append(steps, surplus(voters, managerOf)...)
	}
	return steps
}

// starting returns the steps for managers that are not members, or have not started.
func starting(managers []Manager, members []Member) []Step {
	var steps []Step
	for _, host := range managers {
		i := slices.IndexFunc(members, func(m Member) bool { return m.PeerURL == host.PeerURL })
		switch {
		case !host.Alive:
		case i < 0:
			steps = append(steps, Step{Kind: Add, Manager: host})
		case !members[i].Started:
			steps = append(steps, Step{Start, host, members[i]})
		}
	}
	return steps
}

// surplus returns the step that removes one voter, which is added again as a learner. It is not the
// leader, and preferably not alive.
func surplus(voters []Member, managerOf func(Member) (Manager, bool)) []Step {
	best := -1
	for i, m := range voters {
		host, _ := managerOf(m)
		if m.Leader {
			continue
		}
		if best < 0 || !host.Alive {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return []Step{{Kind: Remove, Member: voters[best]}}
}
