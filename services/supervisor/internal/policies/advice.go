package policies

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// Advice returns warnings about the rules of a stored container, one line each.
func (p *Policies) Advice(m policy.Member) []string {
	rules := p.Of(m)
	if rules.IsEmpty() {
		return nil
	}
	c, err := p.cfg.Store.GetContainer(m.ID)
	if err != nil {
		return nil // it was removed
	}
	return append(policy.Advice(&c.Config, rules), m.Own.Missing(p.exists)...)
}

// exists reports whether a container exists, or a network that rules in force name.
func (p *Policies) exists(kind egress.Kind, name string) bool {
	if kind == egress.Container {
		_, err := p.cfg.Store.FindContainer(name)
		return !fault.Is(err, fault.NotFound)
	}
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	known, ok := p.peers.subnets[name]
	return !ok || len(known.all) > 0
}

// AdviceFor returns warnings about policies, one line each: rules that have no effect, and containers and
// networks that do not exist.
func (p *Policies) AdviceFor(ctx context.Context, all []*policy.Policy) (warnings []string) {
	members := p.stored()
	for _, one := range all {
		add := func(text string) { warnings = append(warnings, "policy "+one.Name+": "+text) }
		rules := policy.Rules{Egress: one.Egress, Ingress: one.Ingress}
		for _, text := range append(rules.Advice(), rules.Missing(p.existsNow(ctx))...) {
			add(text)
		}
		for _, name := range one.Selector.Networks {
			if !p.existsNow(ctx)(egress.Network, name) {
				add("network " + name + " does not exist yet")
			}
		}
		if !slices.ContainsFunc(members, one.Selector.Selects) {
			add("selects none of the containers that exist")
		}
	}
	return warnings
}

// existsNow is exists for rules that are not in force.
func (p *Policies) existsNow(ctx context.Context) func(egress.Kind, string) bool {
	return func(kind egress.Kind, name string) bool {
		if kind != egress.Network {
			return p.exists(kind, name)
		}
		_, err := p.cfg.Agents.Network(ctx, name)
		return !fault.Is(err, fault.NotFound)
	}
}

// stored returns all containers, also stopped ones, with the names of their networks.
func (p *Policies) stored() (all []policy.Member) {
	for _, c := range p.cfg.Store.ListContainers() {
		m := policy.MemberOf(c, nil)
		for _, a := range c.Config.Network.Attachments {
			m.Endpoints = append(m.Endpoints, container.Endpoint{NetworkName: a.Network})
		}
		if c.Live != nil {
			m.Endpoints = append(m.Endpoints, c.Live.Endpoints...)
		}
		all = append(all, m)
	}
	return all
}
