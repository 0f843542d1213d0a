package policies

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// peers knows the addresses of the containers, networks and labels that rules name.
type peers struct {
	agents *agents.Agents

	mu      sync.Mutex
	pushed  map[string][]netip.Prefix // those of natagent; nil if unknown
	subnets map[string]subnets        // by network
}

// subnets are the subnets of a network that rules name.
type subnets struct {
	all  []netip.Prefix // none if the network does not exist
	seen []netip.Prefix // those that containers were on when netagent returned all
}

// resend sends the addresses of all peers, whatever was sent before. It sends nothing if no rules have
// peers.
func (p *Policies) resend(ctx context.Context) error {
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	known := p.peers.subnets
	p.peers.subnets = nil
	want, err := p.addresses(ctx)
	if err != nil {
		p.peers.subnets = known
		return err
	}
	if len(want)+len(p.peers.pushed) == 0 {
		return nil
	}
	return p.peers.send(ctx, want)
}

// push sends the addresses of all peers if they differ from those that natagent has.
func (p *Policies) push(ctx context.Context) error {
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	want, err := p.addresses(ctx)
	if err != nil {
		return err
	}
	pushed := p.peers.pushed
	if len(want)+len(pushed) == 0 || pushed != nil && maps.EqualFunc(want, pushed, slices.Equal) {
		return nil
	}
	return p.peers.send(ctx, want)
}

// send sends the addresses of all peers. mu must be held.
func (p *peers) send(ctx context.Context, want map[string][]netip.Prefix) error {
	if err := p.agents.PutPeers(ctx, want); err != nil {
		p.pushed = nil
		return err
	}
	p.pushed = want
	return nil
}

// addresses returns the addresses of all peers that rules of running containers name. peers.mu must be
// held.
func (p *Policies) addresses(ctx context.Context) (map[string][]netip.Prefix, error) {
	all, names := p.all()
	out, networks := map[string][]netip.Prefix{}, map[string]subnets{}
	for _, name := range names {
		kind, network, err := egress.ParsePeer(name)
		switch {
		case err != nil:
			continue
		case kind != egress.Network:
			out[name] = policy.Addresses(name, all)
			continue
		}
		if networks[network], err = p.peers.subnetsOf(ctx, network, policy.Subnets(network, all)); err != nil {
			return nil, err
		}
		out[name] = networks[network].all
	}
	p.peers.subnets = networks
	return out, nil
}

// subnetsOf returns the subnets of a network. It requests them if they are not known, or if containers are
// on others. mu must be held.
func (p *peers) subnetsOf(ctx context.Context, network string, on []netip.Prefix) (subnets, error) {
	known, ok := p.subnets[network]
	isNew := func(s netip.Prefix) bool { return !slices.Contains(known.all, s) && !slices.Contains(known.seen, s) }
	if ok && !slices.ContainsFunc(on, isNew) {
		return known, nil
	}
	all, err := p.agents.Subnets(ctx, network)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return subnets{}, err
	}
	return subnets{all: all, seen: on}, nil
}

// isPeer reports whether rules of running containers name a container, or a label of it.
func (p *Policies) isPeer(m policy.Member) bool {
	_, names := p.all()
	return slices.ContainsFunc(names, func(name string) bool {
		return len(policy.Addresses(name, []policy.Member{m})) > 0
	})
}

// all returns all running containers, and the peers that their rules name.
func (p *Policies) all() (all []policy.Member, peers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		peers = append(peers, m.peers...)
	}
	if len(peers) == 0 {
		return nil, nil
	}
	for _, m := range p.members {
		all = append(all, m.Member)
	}
	slices.Sort(peers)
	return all, slices.Compact(peers)
}
