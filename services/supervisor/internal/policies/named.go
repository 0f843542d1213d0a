package policies

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// Change is a change of stored policies.
type Change struct {
	Put    []*policy.Policy
	Remove []string
}

// Store stores a change. It rejects policies that are not valid or do not exist, and those that cannot be
// enforced for a running container. all returns the policies with the change.
func (p *Policies) Store(c Change, dryRun bool) (all []*policy.Policy, err error) {
	for _, one := range c.Put {
		if err := one.Validate(); err != nil {
			return nil, err
		}
	}
	for _, name := range c.Remove {
		if _, ok := p.cfg.Store.GetPolicy(name); !ok {
			return nil, fault.New(fault.NotFound, "policy "+name, "No such policy: "+name)
		}
	}

	all = p.with(c)
	for _, m := range p.running() {
		if err := p.checkSources(m.Member, p.sources(m.Member, all)); err != nil {
			return nil, err
		}
	}
	if dryRun {
		return all, nil
	}
	return all, p.cfg.Store.ChangePolicies(c.Put, c.Remove)
}

// with returns the stored policies with a change, sorted by name.
func (p *Policies) with(c Change) []*policy.Policy {
	byName := map[string]*policy.Policy{}
	for _, one := range p.cfg.Store.ListPolicies() {
		byName[one.Name] = one
	}
	for _, one := range c.Put {
		byName[one.Name] = one
	}
	for _, name := range c.Remove {
		delete(byName, name)
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *policy.Policy) int {
		return strings.Compare(a.Name,
			b.Name)
	})
}

// Outdated returns the running containers whose rules differ from those that apply, or are not in force.
func (p *Policies) Outdated() (uids []string) {
	for uid, m := range p.running() {
		if m.outdated || !m.rules.Equal(p.Of(m.Member)) {
			uids = append(uids, uid)
		}
	}
	return uids
}

func (p *Policies) running() map[string]member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.members)
}

// Selected returns the names of the running containers that a policy selects, sorted.
func (p *Policies) Selected(one *policy.Policy) (names []string) {
	for _, m := range p.running() {
		if one.Selector.Selects(m.Member) {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// List returns all policies, sorted by name.
func (p *Policies) List() []*policy.Policy { return p.cfg.Store.ListPolicies() }

// Member returns a stored container as policies see it. A stopped one has no addresses, but the rules of
// its networks.
func (p *Policies) Member(ctx context.Context, ref string) (policy.Member, error) {
	c, err := p.cfg.Store.FindContainer(ref)
	if err != nil {
		return policy.Member{}, err
	}
	if c.Live != nil {
		return policy.MemberOf(c, c.Live.Endpoints), nil
	}
	m := policy.MemberOf(c, nil)
	for _, a := range c.Config.Network.Attachments {
		e := container.Endpoint{NetworkName: a.Network}
		n, err := p.cfg.Agents.Network(ctx, a.Network)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return policy.Member{}, err
		}
		if err == nil {
			e.NetworkID, e.NetworkName, e.Egress = n.ID, n.Name, n.Egress
		}
		m.Endpoints = append(m.Endpoints, e)
	}
	return m, nil
}

// Result is the result of a test.
type Result struct {
	Policy string
	policy.Test
	policy.Decision
	Err error
}

// Failed reports whether a test is not true, or cannot be decided.
func (r Result) Failed() bool { return r.Err != nil || r.Decision.Allowed != r.Test.Allowed }

// Test returns the results of the tests of policies, as if all were stored.
func (p *Policies) Test(ctx context.Context, tested, all []*policy.Policy) (results []Result) {
	for _, one := range tested {
		for _, t := range one.Tests {
			r := Result{Policy: one.Name, Test: t}
			var o policy.Outcome
			m, err := p.Member(ctx, t.Container)
			if err == nil {
				o, err = policy.Decide(p.sources(m, all), t, p.Members())
			}
			if r.Err = err; err == nil {
				r.Decision = o.Against(t.Allowed)
			}
			results = append(results, r)
		}
	}
	return results
}

// Explain returns the sources of the rules of a container, and the decisions about a peer if there is
// one: two if only a part of it is allowed.
func (p *Policies) Explain(ctx context.Context, ref, peer string, incoming bool) (sources []policy.Source,
	decisions []policy.Decision, err error) {
	m, err := p.Member(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	sources = p.Sources(m)
	if peer == "" {
		return sources, nil, nil
	}
	o, err := policy.Decide(sources, policy.Test{Container: m.Name, Peer: peer, Incoming: incoming}, p.Members())
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "peer", err.Error())
	}
	return sources, o.All(), nil
}

// Members returns all running containers, and those of other hosts that are known.
func (p *Policies) Members() (all []policy.Member) {
	all = slices.Clone(p.Others.State().Members)
	for _, m := range p.running() {
		all = append(all, m.Member)
	}
	return all
}
