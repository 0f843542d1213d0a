// Package policy decides which rules for traffic apply to a container: its own, those of policies that
// select it, and defaults. It also finds the addresses of the containers and labels that rules name.
//
// It performs no I/O. The rules themselves belong to package proto/egress; package policies puts them in
// force.
package policy

import (
	"errors"
	"path"
	"slices"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Policy is a set of rules for all containers that it selects. It is stored.
type Policy struct {
	Name     string
	Selector Selector
	Egress   []string `json:",omitempty"` // nil: no rules for outgoing traffic
	Ingress  []string `json:",omitempty"` // nil: no rules for incoming traffic
	Tests    []Test   `json:",omitempty"`
}

// Selector selects containers. Of each kind that is not empty, one element must match.
type Selector struct {
	Containers []string `json:",omitempty"` // names; "*" stands for any letters
	Networks   []string `json:",omitempty"` // names
	Labels     []string `json:",omitempty"` // KEY or KEY=VALUE
}

// Test is an assertion about one connection.
type Test struct {
	Container string // its name
	Peer      string // [host or address]:port[/protocol]: the destination, or the source if Incoming
	Incoming  bool   `json:",omitempty"`
	Allowed   bool
}

// Member is a container as policies see it.
type Member struct {
	ID, Name  string
	Labels    map[string]string
	Own       Rules // of --egress and --ingress
	Bandwidth bandwidth.Limit
	Mode      container.Mode
	Endpoints []container.Endpoint

	Node string // the name of its host, if that is not this one

	Privileges []string // capabilities that reach the rules in its network namespace
}

// MemberOf returns a container with endpoints. Labels of its image do not count: an image must not choose its policies,
// nor which containers accept its connections.
func MemberOf(c *container.Container, endpoints []container.Endpoint) Member {
	n := &c.Config.Network
	return Member{ID: c.ID, Name: c.Config.Name, Labels: c.Config.Labels, Own: RulesOf(n),
		Bandwidth:  n.Bandwidth,
		Mode:       n.Mode,
		Endpoints:  endpoints,
		Privileges: Privileges(&c.Config.Security)}
}

// Rules are rules of both directions, and limits. nil means none.
type Rules struct {
	Egress, Ingress []string
	Limits          egress.Limits   // of all networks together
	Networks        []NetworkLimits // of single networks, sorted
}

// RulesOf returns a container's own rules.
func RulesOf(n *container.Network) Rules {
	return Rules{Egress: n.Egress, Ingress: n.Ingress, Limits: n.Limits}
}

// IsEmpty reports whether there are no rules.
func (r Rules) IsEmpty() bool {
	return len(r.Egress)+len(r.Ingress)+len(r.Networks) == 0 && !r.Limits.IsLimited()
}

// Equal reports whether two sets of rules are equal.
func (r Rules) Equal(o Rules) bool {
	return slices.Equal(r.Egress, o.Egress) && slices.Equal(r.Ingress, o.Ingress) && r.Limits == o.Limits &&
		slices.Equal(r.Networks, o.Networks)
}

// Peers returns the containers, networks and labels among the rules.
func (r Rules) Peers() []string {
	out, _ := egress.Parse(r.Egress)
	in, _ := egress.ParseIngress(r.Ingress)
	return append(out.Peers(), in.Peers()...)
}

// Validate rejects rules that are not valid, or too many.
func (r Rules) Validate() error {
	_, out := egress.Parse(r.Egress)
	_, in := egress.ParseIngress(r.Ingress)
	return errors.Join(out, in)
}

// Restricts reports whether the rules can refuse or record anything on each network.
func (r Rules) Restricts() bool {
	if r.Limits.IsLimited() {
		return true
	}
	for _, parse := range []func() (egress.Policy, error){
		func() (egress.Policy, error) { return egress.Parse(r.Egress) },
		func() (egress.Policy, error) { return egress.ParseIngress(r.Ingress) },
	} {
		if p, err := parse(); err != nil || p.Restricts() || p.Observes() {
			return true
		}
	}
	return false
}

// Selects reports whether a policy selects a container.
func (s Selector) Selects(m Member) bool {
	return s.containers(m.Name) && s.networks(m.Endpoints) && s.labels(m.Labels)
}

func (s Selector) containers(name string) bool {
	return len(s.Containers) == 0 || slices.ContainsFunc(s.Containers, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return err == nil && ok
	})
}

func (s Selector) networks(endpoints []container.Endpoint) bool {
	return len(s.Networks) == 0 || slices.ContainsFunc(endpoints, func(e container.Endpoint) bool {
		return slices.Contains(s.Networks, e.NetworkName)
	})
}

func (s Selector) labels(labels map[string]string) bool {
	return len(s.Labels) == 0 || slices.ContainsFunc(s.Labels,
		func(l string) bool { return egress.MatchesLabel(l, labels) })
}

// IsEmpty reports whether a selector has no condition.
func (s Selector) IsEmpty() bool { return len(s.Containers)+len(s.Networks)+len(s.Labels) == 0 }
