package egress

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// Learn opens the addresses that the name server is about to answer for a name. Answers with the same name
// and addresses whose TTL ends within answerable need no Learn as long as this process runs.
func (e *Enforcer) Learn(ctx context.Context, owner string, a answered.Answer) (answerable time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(ctx); err != nil {
		return 0, err
	}
	c := e.installed[owner]
	if c == nil {
		return 0, fault.New(fault.NotFound, "container "+id.Short(owner), "has no egress policy")
	}

	write, answerable := e.book(owner).Learn(a, c.Opens, time.Now())
	if len(write) > 0 && e.tables.Learn(c, write) != nil {
		if err := e.rebuild(); err != nil {
			return 0, err
		}
	}
	if err := e.inside.Learn(ctx, c, write); err != nil {
		return 0, err
	}
	if !e.tables.IsOwned() || c.HasInside() {
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

// adopt makes a new policy of a container keep the addresses of the same domains, and of names that it
// names otherwise. Groups can have other numbers.
func (e *Enforcer) adopt(now, old *plan.Plan) {
	if old == nil {
		delete(e.books, now.Owner)
		return
	}
	e.books[now.Owner] = e.book(now.Owner).Adopt(func(group int) (same []int) {
		for i, g := range now.Groups {
			if group < len(old.Groups) && g.Domains && g.DomainText() == old.Groups[group].DomainText() &&
				g.Deny == old.Groups[group].Deny {
				same = append(same, i)
			}
		}
		return same
	}, now.Opens, time.Now())
}
