package tables

import (
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
	want string
	host []netip.Prefix
}

// NewInside returns the table of the namespace of a socket.
func NewInside(conn *nflink.Link) *Inside { return &Inside{conn: conn} }

// Close closes the socket. The table stays.
func (k *Inside) Close() error { return k.conn.Close() }

func (k *Inside) table() *nftables.Table {
	return &nftables.Table{Name: rules.TableName, Family: nftables.TableFamilyINet}
}

// Put writes the table again, in one transaction: there is no moment without rules.
func (k *Inside) Put(p *plan.Plan, learned map[answered.Open]time.Duration, peers func(string) []netip.Prefix,
	host []netip.Prefix) error {
	t := k.table()
	k.conn.AddTable(t) // so that the deletion succeeds
	k.conn.DelTable(t)
	k.conn.AddTable(t)

	sets := append(rules.InsideSets(t, host), rules.Sets(t, p, learned)...)
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

	for _, c := range rules.InsidePolicyChains(p) {
		k.conn.AddChain(&nftables.Chain{Name: c.Name, Table: t})
		queueRules(k.conn, t, c.Name, c.Rules)
		lines = append(lines, chainText(t, c.Name, len(c.Rules)))
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

// Learn writes addresses that the container learned.
func (k *Inside) Learn(p *plan.Plan, write map[answered.Open]time.Duration) error {
	queueLearned(k.conn, k.table(), p, write)
	return commit(k.conn)
}

// Counters returns the sums of the counters of the rules that allow, and of those that refuse packets.
func (k *Inside) Counters(p *plan.Plan) (allowed, refused uint64, err error) {
	return counters(k.conn, k.table(), rules.InsidePolicyChains(p))
}

// Remove removes the table.
func (k *Inside) Remove() error {
	k.conn.AddTable(k.table())
	k.conn.DelTable(k.table())
	return commit(k.conn)
}
