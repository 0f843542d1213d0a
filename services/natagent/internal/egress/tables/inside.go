package tables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Inside is the table in the network namespace of one container. Its methods are not safe for concurrent use.
type Inside struct {
	conn *nflink.Link
	name string // of the table that is written
	want string
	host []netip.Prefix
}

// NewInside returns the table of the namespace of a socket.
func NewInside(conn *nflink.Link) *Inside { return &Inside{conn: conn, name: rules.TableName} }

// Close closes the socket. The table stays.
func (k *Inside) Close() error { return k.conn.Close() }

func (k *Inside) table() *nftables.Table {
	return &nftables.Table{Name: k.name, Family: nftables.TableFamilyINet}
}

// Put writes the table again. Tables.Rebuild explains why there is a copy meanwhile.
func (k *Inside) Put(p *plan.Plan, learned map[answered.Open]time.Duration, peers func(string) []netip.Prefix,
	host []netip.Prefix) error {
	write := func(next func() error) error { return k.write(p, learned, peers, host, next) }
	together, apart := func() error { return nil }, func() error { return commit(k.conn) }
	if !exists(k.conn, k.table()) {
		return write(together)
	}

	k.name = rules.CopyName
	next := apart
	if exists(k.conn, k.table()) { // of a process that ended meanwhile: it can be all that is in force
		next = together
	}
	err := write(next)
	k.name = rules.TableName
	if err != nil { // without a copy, the table is written even so
		err = write(together)
		k.queueDelete(rules.CopyName)
		return errors.Join(err, commit(k.conn))
	}

	unhook(k.conn, k.hooks(rules.TableName, p))
	if err := write(apart); err != nil {
		return err // the copy stays
	}
	unhook(k.conn, k.hooks(rules.CopyName, p))
	k.queueDelete(rules.CopyName)
	return commit(k.conn)
}

// hooks returns the chains with hooks of a table.
func (k *Inside) hooks(name string, p *plan.Plan) (chains []*nftables.Chain) {
	for _, c := range rules.InsideChains(&nftables.Table{Name: name, Family: nftables.TableFamilyINet}, p) {
		chains = append(chains, c.Chain)
	}
	return chains
}

// queueDelete queues the deletion of a table, if there is one.
func (k *Inside) queueDelete(name string) {
	t := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	k.conn.AddTable(t) // so that the deletion succeeds
	k.conn.DelTable(t)
}

// write writes the table. next is called before the chains with hooks are queued, so that it can commit the rest.
func (k *Inside) write(p *plan.Plan, learned map[answered.Open]time.Duration, peers func(string) []netip.Prefix,
	host []netip.Prefix, next func() error) error {
	t := k.table()
	k.queueDelete(k.name)
	k.conn.AddTable(t)

	sets, chains := rules.InsideSets(t, host), rules.InsideVerdicts()
	for _, c := range rules.Own(t, p, learned) {
		sets, chains = append(sets, c.Sets...), append(chains, c.Chain)
	}
	named := p.Peers()
	slices.Sort(named)
	for _, peer := range slices.Compact(named) {
		sets = append(sets, rules.PeerSets(t, peer, peers(peer))...)
	}
	var lines []string
	for _, s := range sets {
		_ = k.conn.AddSet(s.Set, s.Elements)
		lines = append(lines, setText(s.Set, starts(s.Elements)))
	}

	for _, c := range chains {
		k.conn.AddChain(&nftables.Chain{Name: c.Name, Table: t})
		queueRules(k.conn, t, c.Name, c.Rules)
		lines = append(lines, chainText(t, c.Name, len(c.Rules)))
	}
	if err := next(); err != nil {
		return err
	}

	for _, c := range rules.InsideChains(t, p) {
		k.conn.AddChain(c.Chain)
		queueRules(k.conn, t, c.Name, c.Rules)
		lines = append(lines, chainText(t, c.Name, len(c.Rules)))
	}
	if err := commit(k.conn); err != nil {
		return err
	}
	slices.Sort(lines)
	k.want, k.host = strings.Join(lines, "\n"), host
	return nil
}

// Differs reports whether the table differs from what was written, or other addresses of the host are to be written.
func (k *Inside) Differs(host []netip.Prefix) (bool, error) {
	lines, err := present(k.conn, k.table())
	if err != nil {
		return false, fmt.Errorf("table %s: %w", rules.TableName, err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") != k.want || !slices.Equal(host, k.host), nil
}

// Learned returns the addresses in the table that are open for the present rules, for a process that starts.
func (k *Inside) Learned(p *plan.Plan) (map[answered.Open]time.Duration, error) {
	sets, err := learnedSets(k.conn, k.table())
	if err != nil {
		return nil, err
	}
	all := map[answered.Open]time.Duration{}
	for _, s := range sets {
		if s.chain != rules.ChainName(p, rules.Outgoing) {
			continue
		}
		for _, e := range s.elements {
			if addr, ok := netip.AddrFromSlice(e.Key); ok && e.Expires > 0 {
				all[answered.Open{Group: s.group, Addr: addr}] = e.Expires
			}
		}
	}
	return all, nil
}

// Learn writes addresses that the container learned.
func (k *Inside) Learn(p *plan.Plan, write map[answered.Open]time.Duration) error {
	for o, left := range write {
		queueLearned(k.conn, rules.OwnLearned(k.table(), p, o), left)
	}
	return commit(k.conn)
}

// Counters returns the sums of the counters of the rules that allow, and of those that refuse packets.
func (k *Inside) Counters(p *plan.Plan) (allowed, refused uint64, err error) {
	for _, c := range rules.Own(k.table(), p, nil) {
		list, err := k.conn.GetRules(k.table(), &nftables.Chain{Name: c.Name, Table: k.table()})
		if err != nil {
			return allowed, refused, err
		}
		for _, r := range list {
			a, b := rules.Counter(r)
			allowed, refused = allowed+a, refused+b
		}
	}
	return allowed, refused, nil
}

// Remove removes the table, and a copy that an earlier process left.
func (k *Inside) Remove() error {
	k.queueDelete(rules.TableName)
	k.queueDelete(rules.CopyName)
	return commit(k.conn)
}
