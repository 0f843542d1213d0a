package plan

import (
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// Plan is a container's policy as it is written to the kernel. It does not change.
type Plan struct {
	*Container
	Via map[string][]byte // MAC of an endpoint -> MAC of its bridge

	Out, In          egress.Policy // parsed once
	Groups, InGroups []Group
}

// New returns a container with what is derived from its rules.
func New(c *Container, via map[string][]byte) *Plan {
	p := &Plan{Container: c, Via: via, Out: c.Policy(), In: c.IngressPolicy()}
	p.Groups, p.InGroups = groupsOf(p.Out), groupsOf(p.In)
	return p
}

// Peers returns the containers, networks and labels among all rules.
func (p *Plan) Peers() []string { return append(p.Out.Peers(), p.In.Peers()...) }

// GroupOf returns the index of the group of a domain rule.
func (p *Plan) GroupOf(r egress.Rule) int {
	return slices.IndexFunc(p.Groups, func(g Group) bool {
		return g.Kind == egress.Prefix && g.Deny == r.Deny && g.Ports == r.Ports && g.AnyName == r.AnyName
	})
}

// Opens returns the groups that the addresses of a name enter. One that rebinds enters only those that deny.
func (p *Plan) Opens(name string, rebinds bool) (groups []int) {
	for _, r := range p.Out.RulesFor(name) {
		if rebinds && !r.Deny {
			continue
		}
		if i := p.GroupOf(r); !slices.Contains(groups, i) {
			groups = append(groups, i)
		}
	}
	return groups
}
