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
	"github.com/fairlead/fairlead/services/supervisor/internal/others"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// peers knows the addresses of the containers, networks and labels that rules name.
type peers struct {
	agents *agents.Agents

	mu      sync.Mutex
	pushed  map[string]agents.PeerAddresses // those of natagent; nil if unknown
	subnets map[string]subnets              // by network
	others  otherAddresses
	known   bool // pushed has those of other hosts
}

// otherAddresses are the addresses of containers of other hosts.
type otherAddresses struct {
	others.State
	byPeer map[string][]netip.Prefix
}

// of returns the addresses of a container or label.
func (o *otherAddresses) of(peer string) []netip.Prefix {
	all, ok := o.byPeer[peer]
	if !ok {
		all = policy.Addresses(peer, o.Members)
		o.byPeer[peer] = all
	}
	return all
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

// Push sends the addresses of all peers if they differ from those that natagent has.
func (p *Policies) Push(ctx context.Context) error {
	p.peers.mu.Lock()
	defer p.peers.mu.Unlock()
	want, err := p.addresses(ctx)
	if err != nil {
		return err
	}
	pushed := p.peers.pushed
	if len(want)+len(pushed) == 0 || pushed != nil && p.peers.known == p.peers.others.Known &&
		maps.EqualFunc(want, pushed, agents.PeerAddresses.Equal) {
		return nil
	}
	return p.peers.send(ctx, want)
}

// send sends the addresses of all peers. mu must be held.
func (p *peers) send(ctx context.Context, want map[string]agents.PeerAddresses) error {
	if err := p.agents.PutPeers(ctx, want, p.others.Known); err != nil {
		p.pushed = nil
		return err
	}
	p.pushed, p.known = want, p.others.Known
	return nil
}

// addresses returns the addresses of all peers that rules of running containers name. peers.mu must be
// held.
func (p *Policies) addresses(ctx context.Context) (map[string]agents.PeerAddresses, error) {
	all, names := p.all()
	if now := p.Others.State(); p.peers.others.byPeer == nil || p.peers.others.Version != now.Version {
		p.peers.others = otherAddresses{now, map[string][]netip.Prefix{}}
	}
	out, networks := map[string]agents.PeerAddresses{}, map[string]subnets{}
	for _, name := range names {
		kind, network, err := egress.ParsePeer(name)
		switch {
		case err != nil:
			continue
		case kind != egress.Network:
			out[name] = agents.PeerAddresses{Own: policy.Addresses(name, all), OtherHosts: p.peers.others.of(name)}
			continue
		}
		if networks[network], err = p.peers.subnetsOf(ctx, network, policy.Subnets(network, all)); err != nil {
			return nil, err
		}
		out[name] = agents.PeerAddresses{Own: networks[network].all}
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
