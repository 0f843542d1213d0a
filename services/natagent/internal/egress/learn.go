package egress

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
)

// Learn opens the addresses that the name server is about to answer for a name. Answers with the same name
// and addresses whose TTL ends within answerable need no Learn as long as this process runs.
func (e *Enforcer) Learn(ctx context.Context, owner, name string, addresses []netip.Addr,
	ttl time.Duration) (answerable time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(ctx); err != nil {
		return 0, err
	}
	c := e.installed[owner]
	if c == nil {
		return 0, fault.New(fault.NotFound, "container "+id.Short(owner), "has no egress policy")
	}

	write, answerable := e.book(owner).Learn(name, addresses, c.opens(name), ttl, time.Now())
	if len(write) > 0 && e.kernel.learn(c, write) != nil {
		if err := e.rebuild(); err != nil {
			return 0, err
		}
	}
	if e.kernel.flags == 0 {
		answerable = 0 // other programs can flush the sets
	}
	return answerable, nil
}

// book returns the answers of a container.
func (e *Enforcer) book(owner string) *answered.Book {
	b := e.books[owner]
	if b == nil {
		b = answered.NewBook(nil, time.Now())
		e.books[owner] = b
	}
	return b
}

// opens returns the groups that the addresses of a name enter.
func (c *installed) opens(name string) (groups []int) {
	for _, r := range c.out.RulesFor(name) {
		if i := groupOf(c.groups, r); !slices.Contains(groups, i) {
			groups = append(groups, i)
		}
	}
	return groups
}

// adopt makes a new policy of a container keep the addresses of the same domains, and of names that it
// names otherwise. Groups can have other numbers.
func (e *Enforcer) adopt(now, old *installed) {
	if old == nil {
		delete(e.books, now.Owner)
		return
	}
	e.books[now.Owner] = e.book(now.Owner).Adopt(func(group int) (same []int) {
		for i, g := range now.groups {
			if group < len(old.groups) && g.domains && g.domainText() == old.groups[group].domainText() &&
				g.deny == old.groups[group].deny {
				same = append(same, i)
			}
		}
		return same
	}, now.opens, time.Now())
}

// learn writes addresses to the sets of a container. An address that is present gets a new timeout.
func (k *kernel) learn(c *installed, write map[answered.Open]time.Duration) error {
	for o, left := range write {
		set, key := k.learnedSet(c, o), []nftables.SetElement{{Key: o.Addr.AsSlice()}}
		timed := []nftables.SetElement{{Key: o.Addr.AsSlice(), Timeout: left}}
		_ = k.conn.SetAddElements(set, timed) // so that the deletion succeeds
		_ = k.conn.SetDeleteElements(set, key)
		_ = k.conn.SetAddElements(set, timed)
	}
	return k.commit()
}

func (k *kernel) learnedSet(c *installed, o answered.Open) *nftables.Set {
	f := families()[0]
	if o.Addr.Is6() {
		f = families()[1]
	}
	return &nftables.Set{Table: k.inet(), Name: setName(id.Short(c.Owner), c.generation, o.Group, setNames, f.v6),
		KeyType: f.address, HasTimeout: true}
}
