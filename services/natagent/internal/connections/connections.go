// Package connections lists the connections of containers: conntrack entries from and to addresses of
// networks, with the rule of an egress policy that allows each. Package api calls it.
//
// It keeps none: a list is passed on piece by piece. Connections that the host does not see, as those
// of macvlan networks, are not in it.
package connections

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Reader reads conntrack entries. Package conntrack implements it.
type Reader interface {
	List(ctx context.Context, each func(conntrack.Connection) error) error
	Watch(ctx context.Context, started, lost func(), each func(c conntrack.Connection, ended bool) error) error
}

// Event is the reason for which a connection is reported.
type Event int

// The events.
const (
	Open  Event = iota // it existed when the list began
	Began              // it is new
	Ended              // it has ended; its counters are final
)

// Connection is a connection of a container.
type Connection struct {
	conntrack.Connection
	Event Event
	Rule  string // the egress rules that allow it; empty without a policy of the container
}

// Config configures a Lister.
type Config struct {
	Reader   Reader
	Networks func() []*firewall.Network
	Rules    func() egress.AllowingRule
	Local    func() map[netip.Addr]bool // the host's addresses
}

// Lister lists connections of containers. It is safe for concurrent use.
type Lister struct{ cfg Config }

// New returns a Lister.
func New(cfg Config) *Lister { return &Lister{cfg} }

// List calls each for the open connections from and to some addresses, or with none from and to all
// networks.
func (l *Lister) List(ctx context.Context, addresses []netip.Addr, each func(Connection) error) error {
	s := l.selection(addresses)
	return l.cfg.Reader.List(ctx, func(c conntrack.Connection) error {
		if !s.has(c) {
			return nil
		}
		return each(s.connection(c, Open))
	})
}

// refresh is the age at which Watch reads networks, policies and the host's addresses again.
const refresh = time.Second

// Watch calls each for connections that begin and end, until ctx ends.
func (l *Lister) Watch(ctx context.Context, addresses []netip.Addr, started, lost func(),
	each func(Connection) error) error {
	var s *selection
	var read time.Time
	return l.cfg.Reader.Watch(ctx, started, lost, func(c conntrack.Connection, ended bool) error {
		if time.Since(read) > refresh {
			s, read = l.selection(addresses), time.Now()
		}
		if !s.has(c) {
			return nil
		}
		if ended {
			return each(s.connection(c, Ended))
		}
		return each(s.connection(c, Began))
	})
}

// selection selects the connections of a list.
type selection struct {
	subnets []netip.Prefix
	rules   egress.AllowingRule
	local   map[netip.Addr]bool
}

func (l *Lister) selection(addresses []netip.Addr) *selection {
	s := &selection{rules: l.cfg.Rules(), local: l.cfg.Local()}
	for _, a := range addresses {
		s.subnets = append(s.subnets, netip.PrefixFrom(a, a.BitLen()))
	}
	if len(addresses) > 0 {
		return s
	}
	for _, n := range l.cfg.Networks() {
		s.subnets = append(s.subnets, n.Subnets...)
	}
	return s
}

// has reports whether a connection begins or ends in one of the subnets, and not at the host itself.
func (s *selection) has(c conntrack.Connection) bool {
	in := func(a netip.Addr) bool {
		return !s.local[a] && slices.ContainsFunc(s.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return in(c.From.Addr()) || in(c.Target.Addr())
}

func (s *selection) connection(c conntrack.Connection, e Event) Connection {
	return Connection{c, e, s.rules(c.From.Addr(), c.Protocol, c.Target, s.local[c.Target.Addr()])}
}
