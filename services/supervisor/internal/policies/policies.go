// Package policies puts the rules for traffic of containers in force: it decides with package policy
// which apply, and sends them to natagent, with the addresses of the containers that rules name.
//
// Packages launch, follow and run call it for each container that starts, changes or ends. Names belong
// to dnsagent, which the callers update.
package policies

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/others"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Config holds the dependencies of Policies.
type Config struct {
	Log    *slog.Logger
	Store  *store.Store
	Agents *agents.Agents
}

// Policies knows the rules of running containers. It is safe for concurrent use.
type Policies struct {
	cfg    Config
	Others *others.Others // containers of other hosts

	mu       sync.Mutex
	standard []string // rules of the configuration
	members  map[string]member

	peers peers
}

// member is a running container with the rules that were put in force.
type member struct {
	policy.Member
	rules policy.Rules
	peers []string
	// had and hadEgress report rules, now or before; hadEgress for outgoing traffic.
	had, hadEgress bool
	// outdated reports that a service may not have the rules yet.
	outdated bool
}

// New returns Policies without containers.
func New(cfg Config) *Policies {
	return &Policies{cfg: cfg, Others: others.New(!cfg.Agents.HasFleet()), members: map[string]member{},
		peers: peers{agents: cfg.Agents}}
}

// SetDefault sets the rules of the configuration, for containers that start.
func (p *Policies) SetDefault(rules []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.standard = rules
}

// Restore remembers the running containers of an earlier process.
func (p *Policies) Restore() {
	for _, c := range p.cfg.Store.ListContainers() {
		if c.IsRunning() && c.Live != nil && c.Live.SharedWith == "" {
			m := policy.MemberOf(c, c.Live.Endpoints)
			p.remember(m, len(p.Of(m).Egress) > 0) // the former process may have died before dnsagent had them
		}
	}
}

// Sources returns where the rules of a container come from.
func (p *Policies) Sources(m policy.Member) []policy.Source {
	return p.sources(m, p.cfg.Store.ListPolicies())
}

func (p *Policies) sources(m policy.Member, all []*policy.Policy) []policy.Source {
	p.mu.Lock()
	standard := p.standard
	p.mu.Unlock()
	return policy.Sources(m, all, standard)
}

// Of returns the rules that apply to a container.
func (p *Policies) Of(m policy.Member) policy.Rules {
	rules := policy.Merge(p.Sources(m))
	rules.Networks = policy.LimitsByNetwork(m)
	return rules
}

// Names returns the rules for the names of a container: all names if it has no rules any more, nil if it
// never had any.
func (p *Policies) Names(m policy.Member) []string {
	if rules := p.Of(m).Egress; len(rules) > 0 {
		return rules
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.members[m.ID]; known.hadEgress {
		return []string{everything}
	}
	return nil
}

// everything is the rule that lifts a policy.
const everything = "all"

// Apply puts the rules of a container in force, and its addresses where rules of other containers name
// it. It sends nothing if no rules are involved.
func (p *Policies) Apply(ctx context.Context, m policy.Member) error { return p.apply(ctx, m, false) }

// ApplyBeforeStart is Apply for a container without processes: connections of its addresses are those of an
// earlier owner.
func (p *Policies) ApplyBeforeStart(ctx context.Context, m policy.Member) error {
	return p.apply(ctx, m, true)
}

func (p *Policies) apply(ctx context.Context, m policy.Member, starting bool) error {
	if err := p.Check(m); err != nil {
		return err
	}
	before, now := p.remember(m, true)
	err := p.Push(ctx)
	switch {
	case err != nil || len(m.Endpoints) == 0 && !before.had:
	case !now.rules.IsEmpty():
		err = p.cfg.Agents.PutPolicy(ctx, m.ID, m.Name, now.rules, m.Endpoints, starting)
	case before.had:
		err = p.cfg.Agents.DeletePolicy(ctx, m.ID)
	}
	if err == nil {
		p.change(m.ID, func(m *member) { m.outdated = false })
	}
	return err
}

// MarkOutdated makes the next Resync and Outdated return a container, as a service does not have its rules.
func (p *Policies) MarkOutdated(uid string) { p.change(uid, func(m *member) { m.outdated = true }) }

// change changes a running container.
func (p *Policies) change(uid string, set func(*member)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.members[uid]; ok {
		set(&m)
		p.members[uid] = m
	}
}

// Hold puts the rules of a container in force on a new endpoint without addresses, the last one: nothing
// passes from and to it before Apply. held is false if no rules apply to the container then.
func (p *Policies) Hold(ctx context.Context, m policy.Member) (held bool, err error) {
	if err := p.Check(m); err != nil {
		return false, err
	}
	rules := p.Of(m)
	if !rules.Restricts() && len(rules.Networks) == 0 {
		return false, nil
	}
	p.change(m.ID, func(m *member) { m.had, m.hadEgress = true, m.hadEgress || len(rules.Egress) > 0 })
	return true, p.cfg.Agents.PutPolicy(ctx, m.ID, m.Name, rules, m.Endpoints, false)
}

// Block makes nothing pass from and to the endpoints of a container that ends, if rules apply to it.
func (p *Policies) Block(ctx context.Context, m policy.Member) error {
	rules := p.Of(m)
	if !rules.Restricts() {
		return nil
	}
	held := slices.Clone(m.Endpoints)
	for i := range held {
		held[i].IPv4, held[i].IPv6 = "", ""
	}
	return p.cfg.Agents.PutPolicy(ctx, m.ID, m.Name, rules, held, false)
}

// Check rejects rules that cannot be enforced for a container.
func (p *Policies) Check(m policy.Member) error {
	if err := policy.CheckLimits(m.Name, m.Mode, m.Own.Limits); err != nil {
		return err
	}
	return cmp.Or(checkNetworks(m), p.checkSources(m, p.Sources(m)))
}

func (p *Policies) checkSources(m policy.Member, sources []policy.Source) error {
	rules := policy.Merge(sources)
	if err := rules.Validate(); err != nil {
		return fault.New(fault.Invalid, container.Subject(m.Name), "rules are not valid together: "+err.Error(),
			fault.WithField("egress"))
	}
	if !rules.Restricts() {
		return nil
	}
	if m.Mode == container.ModeHost {
		return unenforceable(m, sources, string(m.Mode), "", "use a bridge network, or --egress all")
	}
	return p.checkEndpoints(m, sources)
}

// unenforceable returns the fault of rules that cannot be enforced on a network.
func unenforceable(m policy.Member, sources []policy.Source, network, why, hint string) error {
	if policy.Merge(sources).Limits.IsLimited() {
		return fault.New(fault.Invalid, container.Subject(m.Name),
			"connections and packets cannot be limited on network "+network, fault.WithField("limits"),
			fault.WithHint("use a bridge network"))
	}
	return fault.New(fault.Invalid, container.Subject(m.Name),
		fmt.Sprintf("rules of %s cannot be enforced on network %s%s", sources[0].Name, network, why),
		fault.WithField("egress"), fault.WithHint("%s", hint))
}

// Leave forgets a container that ends, so that rules of other containers do not apply to the next owner
// of its addresses. had reports whether natagent may have rules of it.
func (p *Policies) Leave(ctx context.Context, uid string) (had bool, err error) {
	p.mu.Lock()
	m, known := p.members[uid]
	delete(p.members, uid)
	p.mu.Unlock()
	if known && len(m.peers) == 0 && !p.isPeer(m.Member) {
		return m.had, nil
	}
	return m.had || !known, p.Push(ctx)
}

// Resync sends the addresses of all peers, and returns the running containers whose rules in natagent
// differ from those that apply. Rules that natagent has are lifted later if none apply any more.
func (p *Policies) Resync(ctx context.Context) (differ []string, err error) {
	if err := p.resend(ctx); err != nil {
		return nil, err
	}
	inForce, err := p.cfg.Agents.Policies(ctx)
	if err != nil {
		return nil, err
	}

	for uid, rules := range inForce {
		p.change(uid, func(m *member) { m.had, m.hadEgress = true, m.hadEgress || len(rules.Egress) > 0 })
	}
	for uid, m := range p.running() {
		known := len(m.Endpoints) > 0 || m.had
		if m.outdated || known && !inForce[uid].Equal(p.Of(m.Member)) {
			differ = append(differ, uid)
		}
	}
	return differ, nil
}

// remember stores a container and returns what was known of it, and what is known now.
func (p *Policies) remember(m policy.Member, outdated bool) (before, now member) {
	now = member{Member: m, rules: p.Of(m), outdated: outdated}
	now.peers = now.rules.Peers()
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.members[m.ID]
	now.had = before.had || !now.rules.IsEmpty()
	now.hadEgress = before.hadEgress || len(now.rules.Egress) > 0
	p.members[m.ID] = now
	return before, now
}
