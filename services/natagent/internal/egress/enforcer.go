// Package egress enforces what containers may reach: it keeps two nf_tables tables in the kernel, one
// chain for each list of rules, and reads what they refuse. Package natagent creates the Enforcer, package
// api calls it.
//
// The tables do not depend on the firewall backend: what they drop stays dropped. Domains are enforced
// by addresses that dnsagent reports before it answers the container. Without nf_tables a policy is
// rejected. The policy itself belongs to package proto/egress.
//
// The traffic of macvlan and ipvlan networks does not pass the host. Their containers have a third table in their own
// network namespace: output and input. They must not have the privileges to change it or to send around it.
//
//	inet fairlead-egress    forward, input: source MAC -> chain of the container's rules for outgoing traffic
//	                        forward-ingress, output: destination -> its chain for incoming traffic
//	bridge fairlead-egress  postrouting: nothing passes to interfaces whose policy is not in force yet
//	                        prerouting: frames from and to these containers go through the host, so
//	                        that traffic between containers of one bridge passes the table above
package egress

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/inside"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/servers"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/tables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
	"github.com/fairlead/fairlead/services/natagent/internal/nfqueue"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Store holds the containers with a policy.
type Store interface {
	Policies() []*plan.Container
	Policy(owner string) (*plan.Container, bool)
	PutPolicy(c *plan.Container) error
	DeletePolicy(owner string) error
	// ChangePolicies puts and deletes policies, all or none.
	ChangePolicies(put []*plan.Container, remove []string) error
	// Peer returns a container, network or label; PutPeers replaces all.
	Peer(name string) (*plan.Peer, bool)
	PutPeers(all []plan.Peer) error
	// Bridge returns the bridge of a network.
	Bridge(network string) (string, bool)
}

// Flows deletes conntrack entries.
type Flows interface {
	Delete(ctx context.Context, cuts []conntrack.Selector) error
	DeleteAll(ctx context.Context, addresses []netip.Addr, incoming bool) error
	Local() map[netip.Addr]bool // addresses of the host
	servers.Flows
}

// Enforcer keeps the policies of containers in the kernel. It is safe for concurrent use.
type Enforcer struct {
	ns      hostns.NS
	store   Store
	flows   Flows
	journal *refusals.Journal
	log     *slog.Logger
	begun   chan struct{} // closed when the tables are written for the first time
	servers *servers.Servers

	queue queue

	mu        sync.Mutex
	tables    *tables.Tables
	started   bool       // the tables were written by this process
	refused   *nflog.Log // of refused packets, for Run; nil before start, or if it cannot be opened
	queues    *nfqueue.Queues
	restores  uint64                // after changes by other programs
	installed map[string]*plan.Plan // by owner
	index     index
	books     map[string]*answered.Book // by owner
	inside    *inside.Namespaces
}

// New returns an Enforcer. It changes nothing in the kernel before Sync.
func New(ns hostns.NS, store Store, flows Flows, records *refusals.Journal, log *slog.Logger,
	open inside.Opener) *Enforcer {
	e := &Enforcer{store: store, flows: flows, journal: records, log: log, begun: make(chan struct{}),
		servers: servers.New(flows, records, log), ns: ns, tables: tables.New(ns), installed: map[string]*plan.Plan{},
		index: newIndex(),
		books: map[string]*answered.Book{}}
	e.inside = inside.New(inside.Config{Host: ns, Open: open, Log: log, Record: e.record,
		Lost: func() { records.AddLost(1) }, Peers: e.prefixes, Local: flows.Local,
		Learned: func(owner string) map[answered.Open]time.Duration { return e.book(owner).Left(time.Now()) },
		Found:   func(owner string, open map[answered.Open]time.Duration) { e.book(owner).Add(open, time.Now()) }})
	return e
}

// Close closes the sockets. The tables stay.
func (e *Enforcer) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inside.Close()
	return errors.Join(e.tables.Close(), e.journal.Close())
}

// Clean removes the tables. It does nothing if the kernel has no nf_tables.
func (e *Enforcer) Clean(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tables.Open(ctx) != nil {
		return nil
	}
	return e.tables.Remove()
}

// List returns all containers with a policy.
func (e *Enforcer) List(context.Context) ([]*plan.Container, error) { return e.store.Policies(), nil }

// Put sets the policy of a container, and deletes its connections that the policy does not allow. If no
// process of the container runs yet, all connections are those of an earlier owner of its addresses, and
// are deleted: that is faster.
func (e *Enforcer) Put(ctx context.Context, c *plan.Container, starting bool) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.IsEmpty() {
		return e.Release(ctx, c.Owner)
	}

	write, span := tracing.Start(ctx, "write policy")
	cuts, err := e.put(write, c)
	span.End(err)
	if err != nil {
		return err
	}
	ctx, span = tracing.Start(ctx, "cut connections")
	defer func() { span.End(err) }()
	if starting {
		// without rules for them, incoming connections may continue
		err = e.flows.DeleteAll(ctx, earlierAddresses(c), len(c.Ingress) > 0)
	} else {
		err = errors.Join(e.flows.Delete(ctx, cuts), cutInside(ctx, e, c.Owner, cuts))
	}
	if err != nil {
		e.log.Warn("connections that the policy does not allow may continue", "container", c.Name, "error", err)
	}
	return nil
}

// putOne stores and writes a policy, and selects the connections that it does not allow. mu must be held.
func (e *Enforcer) putOne(ctx context.Context, c *plan.Container) (cuts []conntrack.Selector, err error) {
	if err := e.start(ctx); err != nil {
		return nil, err
	}

	before, had := e.store.Policy(c.Owner)
	old := e.installed[c.Owner]
	if had && before.Equal(c) && old != nil && !c.HasInside() { // a namespace can be another one meanwhile
		return nil, nil
	}
	now, err := e.install(c)
	if err == nil {
		err = e.tables.CheckSupport(now)
	}
	if err != nil {
		return nil, err
	}
	if err := e.store.PutPolicy(c); err != nil {
		return nil, err
	}

	known := e.books[c.Owner]
	e.adopt(now, old)
	if err = e.inside.Put(ctx, before, now); err != nil && had && old != nil { // the tables have the old policy
		e.books[c.Owner] = known
		e.inside.Undo(ctx, before, c)
		return nil, errors.Join(err, e.store.PutPolicy(before))
	}
	if err == nil {
		err = e.replace(old, now, known)
	}
	if err != nil {
		e.books[c.Owner] = known
		e.inside.Undo(ctx, before, c)
		return nil, errors.Join(err, e.restore(c.Owner, before))
	}
	return e.cuts(now, old, known), nil
}

// replace writes a change; known are the answers under the old policy, and can be nil. If the kernel refuses it,
// everything is written again.
func (e *Enforcer) replace(old, now *plan.Plan, known *answered.Book) error {
	owner := ""
	for _, c := range []*plan.Plan{old, now} {
		if c != nil {
			owner = c.Owner
		}
	}

	e.checkServers(owner, now)
	e.setInstalled(owner, now)
	if now == nil {
		delete(e.books, owner)
	}

	c := tables.Change{Old: old, Now: now, Before: left(known)}
	if now != nil {
		c.Learned = left(e.books[owner])
	}
	err := e.tables.Change([]tables.Change{c}, e.prefixes)
	if err == nil && (hasLimits(old) || hasLimits(now)) {
		return e.tables.WriteLimits(e.limited())
	}
	if err == nil {
		return nil
	}
	e.log.Warn("egress policies out of sync, writing them again", "error", err)
	return e.rebuild()
}

// restore undoes a change in the store after the kernel refused it.
func (e *Enforcer) restore(owner string, before *plan.Container) error {
	e.servers.Remove(owner)
	e.setInstalled(owner, nil)
	if before == nil {
		e.inside.Forget(owner)
		return e.store.DeletePolicy(owner)
	}
	return e.store.PutPolicy(before)
}

// Release removes the policy of a container. It does nothing without one.
func (e *Enforcer) Release(ctx context.Context, owner string) error {
	if _, ok := e.store.Policy(owner); !ok {
		return nil
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(ctx); err != nil {
		return err
	}
	had, _ := e.store.Policy(owner)
	if err := e.store.DeletePolicy(owner); err != nil {
		return err
	}
	e.inside.Lift(ctx, had)
	if old := e.installed[owner]; old != nil {
		return e.replace(old, nil, e.books[owner])
	}
	return nil
}

// Sync writes what differs from the store. It does nothing as long as no container ever had a policy.
func (e *Enforcer) Sync(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started && len(e.store.Policies()) == 0 {
		return nil
	}
	if !e.started {
		return e.start(ctx)
	}
	e.installMissing()
	within := e.inside.Sync(ctx, e.installed)

	differ, err := e.tables.Differ(slices.Collect(maps.Values(e.installed)))
	if err == nil && !differ {
		differ, err = e.tables.LimitsDiffer()
	}
	if err != nil || !differ {
		return errors.Join(err, within, e.tables.Tidy(time.Now()))
	}
	e.log.Warn("egress policies changed externally, restored")
	e.restores++
	return errors.Join(e.rebuild(), within)
}

// start writes the tables for the first time in this process. Learned addresses stay.
func (e *Enforcer) start(ctx context.Context) error {
	if e.started {
		return nil
	}
	if err := e.tables.Open(ctx); err != nil {
		return err
	}
	learned, err := e.tables.Learned()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "table "+rules.TableName, "cannot be read")
	}

	e.installMissing()
	for owner, p := range e.installed {
		e.books[owner] = answered.NewBook(openedBy(p, learned), time.Now())
	}

	if e.refused, err = e.openLog(); err != nil { // before the first refusal
		e.log.Warn("refused packets are not recorded", "error", err)
	}
	if e.queues, err = servers.Open(e.ns.Fd()); err != nil {
		e.log.Warn("names of servers cannot be checked yet", "error", err)
	}
	if err := e.rebuild(); err != nil {
		if e.refused != nil {
			_ = e.refused.Close()
		}
		if e.queues != nil {
			_ = e.queues.Close()
		}
		return err
	}
	e.started = true
	close(e.begun)
	if err := e.inside.Sync(ctx, e.installed); err != nil {
		e.log.Warn("egress policies in namespaces of containers are not up to date", "error", err)
	}
	return nil
}

func (e *Enforcer) rebuild() error {
	now := time.Now()
	err := e.tables.Rebuild(slices.Collect(maps.Values(e.installed)),
		func(owner string) map[answered.Open]time.Duration {
			return e.book(owner).Left(now)
		}, e.prefixes)
	return errors.Join(err, e.tables.WriteLimits(e.limited()))
}
