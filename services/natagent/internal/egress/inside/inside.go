// Package inside keeps the rules of egress policies in the network namespaces of containers: the host does not see the
// traffic of macvlan and ipvlan networks. Package egress decides what is in force.
//
// natagent cannot enter a namespace. netagent opens its sockets there. They keep the namespace alive until they are
// closed.
package inside

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
)

// Opener opens a netlink socket for the firewall in the network namespace of a container.
type Opener func(ctx context.Context, owner string) (*os.File, error)

// Config holds the dependencies of Namespaces.
type Config struct {
	Host    hostns.NS
	Open    Opener
	Log     *slog.Logger
	Record  func(nflog.Packet) // a packet that was refused
	Lost    func()             // records were lost
	Learned func(owner string) map[answered.Open]time.Duration
	Found   func(owner string, open map[answered.Open]time.Duration) // those that an earlier process learned
	Peers   func(peer string) []netip.Prefix
	Local   func() map[netip.Addr]bool // addresses of the host
}

// Namespaces are those with rules. Its methods are not safe for concurrent use.
type Namespaces struct {
	Config
	open  map[string]*namespace      // by owner
	lifts map[string]*plan.Container // that had rules which must be removed
	waits bool                       // a namespace could not be opened
	host  []netip.Prefix             // addresses of the host when they were read last
}

// New returns Namespaces without any.
func New(cfg Config) *Namespaces {
	return &Namespaces{Config: cfg, open: map[string]*namespace{}, lifts: map[string]*plan.Container{}}
}

// Close closes all sockets. The rules stay.
func (n *Namespaces) Close() {
	for owner := range n.open {
		n.Forget(owner)
	}
}

// Forget closes the sockets of a container.
func (n *Namespaces) Forget(owner string) {
	if s := n.open[owner]; s != nil {
		_ = s.close()
	}
	delete(n.open, owner)
}

// Put writes the policy of a container in its namespace, or removes the rules that it had there before.
func (n *Namespaces) Put(ctx context.Context, before *plan.Container, now *plan.Plan) error {
	if !now.HasInside() {
		n.Lift(ctx, before)
		return nil
	}
	s, err := n.enter(ctx, now.Owner)
	if err != nil {
		return err
	}
	delete(n.lifts, now.Owner)
	return n.write(s, now, n.hostAddresses())
}

// enter returns the namespace of a container. It can be another one than before.
func (n *Namespaces) enter(ctx context.Context, owner string) (*namespace, error) {
	present := n.open[owner]
	s, err := n.openAt(ctx, owner, present)
	if err != nil {
		return nil, err
	}
	if present != nil && s != present {
		_ = present.close()
	}
	n.open[owner] = s
	return s, nil
}

// write writes a policy. After an error the next Sync writes it again.
func (n *Namespaces) write(s *namespace, p *plan.Plan, host []netip.Prefix) error {
	s.plan = nil
	if !s.read {
		if open, err := s.table.Learned(p); err == nil {
			n.Found(p.Owner, open)
			s.read = true
		}
	}
	if err := s.table.Put(p, n.Learned(p.Owner), n.Peers, host); err != nil {
		s.changed.Store(true)
		return err
	}
	s.plan = p
	return nil
}

// Undo removes what a change that failed has written in a namespace without rules before; before can be nil. Others get
// their rules back by Sync.
func (n *Namespaces) Undo(ctx context.Context, before, now *plan.Container) {
	if (before == nil || !before.HasInside()) && n.open[now.Owner] != nil {
		n.Lift(ctx, now)
	}
}

// Lift removes the rules of a container that had some; had can be nil. What cannot be removed now is removed by a later
// Sync, if the container still runs then.
func (n *Namespaces) Lift(ctx context.Context, had *plan.Container) {
	if had == nil || !had.HasInside() {
		return
	}
	s, err := n.open[had.Owner], error(nil)
	if s == nil {
		s, err = n.openAt(ctx, had.Owner, nil)
	}
	switch {
	case fault.Is(err, fault.NotFound):
		err = nil // the namespace is deleted
	case err == nil:
		err = errors.Join(s.table.Remove(), s.close())
	}
	delete(n.open, had.Owner)
	delete(n.lifts, had.Owner)
	if err != nil {
		n.lifts[had.Owner] = had
		n.Log.Warn("egress policy in the namespace of a container is not lifted yet", "container", had.Name, "error",
			err)
	}
}

// Sync writes what differs, and opens namespaces that could not be opened before: of netagent, which starts later.
func (n *Namespaces) Sync(ctx context.Context, all map[string]*plan.Plan) error {
	waited := n.waits
	n.waits = false
	for _, had := range n.lifts {
		n.Lift(ctx, had)
	}
	host := n.hostAddresses()
	var errs []error
	for owner, p := range all {
		if !p.HasInside() {
			continue
		}
		if n.open[owner] != nil {
			errs = append(errs, n.compare(n.open[owner], p, host))
			continue
		}
		s, err := n.enter(ctx, owner)
		if err == nil {
			errs = append(errs, n.write(s, p, host))
			continue
		}
		if fault.Is(err, fault.NotFound) {
			continue // the namespace is deleted
		}
		n.waits = true
		if !waited {
			n.Log.Info("egress policy waits for the namespace of its container", "container", p.Name, "error", err)
		}
	}
	return errors.Join(errs...)
}

// compare writes the rules of a namespace again if they differ, or are those of another policy.
func (n *Namespaces) compare(s *namespace, p *plan.Plan, host []netip.Prefix) error {
	if s.plan == p {
		differs, err := s.table.Differs(host)
		if err != nil || !differs {
			return err
		}
	}
	return n.write(s, p, host)
}

// IsDue reports whether Sync can do something: another program has changed rules since the last call, or a namespace
// could not be opened.
func (n *Namespaces) IsDue() bool {
	due := n.waits || len(n.lifts) > 0
	for _, s := range n.open {
		due = s.changed.Swap(false) || due
	}
	return due
}

// Learn opens addresses that a container has learned.
func (n *Namespaces) Learn(ctx context.Context, p *plan.Plan, write map[answered.Open]time.Duration) error {
	if !p.HasInside() {
		return nil
	}
	s := n.open[p.Owner]
	if s == nil {
		return n.Put(ctx, nil, p)
	}
	if s.plan != p || len(write) > 0 && s.table.Learn(p, write) != nil {
		return n.write(s, p, n.hostAddresses())
	}
	return nil
}

// PutPeers writes changed addresses of peers for the containers whose rules name them.
func (n *Namespaces) PutPeers(all map[string]*plan.Plan, changed map[string][]netip.Prefix) error {
	host := n.hostAddresses()
	var errs []error
	for owner, s := range n.open {
		p := all[owner]
		if p != nil && slices.ContainsFunc(p.Peers(), func(peer string) bool { _, ok := changed[peer]; return ok }) {
			errs = append(errs, n.write(s, p, host))
		}
	}
	return errors.Join(errs...)
}

// Counters returns the sums of the counters of the rules that allow, and of those that refuse packets.
func (n *Namespaces) Counters(p *plan.Plan) (allowed, refused uint64, err error) {
	if s := n.open[p.Owner]; s != nil {
		return s.table.Counters(p)
	}
	return 0, 0, nil
}

// Flows returns what deletes connections of a container, or nil. It is safe for concurrent use.
func (n *Namespaces) Flows(owner string) conntrack.Selected {
	if s := n.open[owner]; s != nil {
		return s.flows
	}
	return nil
}

// hostAddresses returns the addresses of the host, sorted: those of the last call if they cannot be read.
func (n *Namespaces) hostAddresses() (all []netip.Prefix) {
	local := n.Local()
	if len(local) == 0 {
		return n.host
	}
	for a := range local {
		if !a.IsLoopback() {
			all = append(all, netip.PrefixFrom(a.WithZone(""), a.BitLen()))
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	n.host = slices.Compact(all)
	return n.host
}
