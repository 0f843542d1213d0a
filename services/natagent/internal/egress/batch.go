package egress

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/tables"
)

// maxBatch bounds the policies that are written together: answers of the name server wait for them.
const maxBatch = 256

// request is a policy that a call of Put waits for.
type request struct {
	ctx  context.Context // of the call
	c    *plan.Container
	done chan struct{} // closed when the fields below are set
	cuts []conntrack.Selector
	err  error
}

// queue has the requests that wait. Those that wait at the same time are written together: the kernel checks
// all chains after each transaction, and the disk writes once.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	busy    bool // a caller of put, or a goroutine, takes requests
}

// enter adds a request. first is true if nothing takes requests: the caller must do it.
func (q *queue) enter(ctx context.Context, c *plan.Container) (r *request, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, first = &request{ctx: ctx, c: c, done: make(chan struct{})}, !q.busy
	q.waiting, q.busy = append(q.waiting, r), true
	return r, first
}

// take removes the first requests: at most one of each container. Without any, requests must be taken by
// another caller from then on.
func (q *queue) take() (batch []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	owners := map[string]bool{}
	for _, r := range q.waiting {
		if len(batch) == maxBatch || owners[r.c.Owner] {
			break
		}
		owners[r.c.Owner] = true
		batch = append(batch, r)
	}
	q.waiting, q.busy = slices.Delete(q.waiting, 0, len(batch)), len(batch) > 0
	return batch
}

// put stores and writes a policy, together with others that wait. It selects the connections that the policy
// does not allow: packets of known connections are not looked at otherwise.
func (e *Enforcer) put(ctx context.Context, c *plan.Container) ([]conntrack.Selector, error) {
	r, first := e.queue.enter(ctx, c)
	if first {
		e.putBatch(context.WithoutCancel(ctx), e.queue.take())
		if batch := e.queue.take(); len(batch) > 0 { // this call does not wait for them
			go e.putWaiting(context.WithoutCancel(ctx), batch)
		}
	}
	<-r.done
	return r.cuts, r.err
}

// putWaiting writes a batch and the policies that wait, until there are none.
func (e *Enforcer) putWaiting(ctx context.Context, batch []*request) {
	for ; len(batch) > 0; batch = e.queue.take() {
		e.putBatch(ctx, batch)
	}
}

// putBatch stores and writes policies of different containers. If that fails, each is written alone, so that
// one that is refused does not affect others. Those whose caller has gone are not stored.
func (e *Enforcer) putBatch(ctx context.Context, batch []*request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	batch = slices.DeleteFunc(batch, func(r *request) bool {
		if r.err = r.ctx.Err(); r.err != nil {
			close(r.done)
		}
		return r.err != nil
	})
	together := len(batch) > 1 && e.putTogether(ctx, batch) == nil
	for _, r := range batch {
		if !together {
			r.cuts, r.err = e.putOne(ctx, r.c)
		}
		close(r.done)
	}
}

// errAlone says that a policy of a batch has limits, which are written after it, rules in the namespace of its
// container, or addresses of another one.
var errAlone = errors.New("a policy has limits, rules in a namespace or addresses of another container")

// putTogether stores and writes policies in one transaction each. After an error nothing is changed. mu must
// be held.
func (e *Enforcer) putTogether(ctx context.Context, batch []*request) error {
	if err := e.start(ctx); err != nil {
		return err
	}
	var changes []tables.Change
	var stored, before []*plan.Container
	var added []string
	together := newIndex()
	for _, r := range batch {
		had, ok := e.store.Policy(r.c.Owner)
		old := e.installed[r.c.Owner]
		if ok && had.Equal(r.c) && old != nil {
			continue
		}
		now, err := e.install(r.c)
		if err == nil {
			err = e.tables.CheckSupport(now)
		}
		if err != nil {
			return err
		}
		if hasLimits(old) || hasLimits(now) || ok && had.HasInside() || r.c.HasInside() ||
			together.conflict(now) != nil {
			return errAlone
		}
		together.replace(nil, now)
		if ok {
			before = append(before, had)
		} else {
			added = append(added, r.c.Owner)
		}
		stored, changes = append(stored, r.c), append(changes, tables.Change{Old: old, Now: now})
	}

	if err := e.store.ChangePolicies(stored, nil); err != nil {
		return err
	}
	known := e.adoptAll(changes)
	if err := e.tables.Change(changes, e.prefixes); err != nil {
		e.log.Warn("egress policies are written one by one", "error", err)
		for i, c := range changes {
			e.books[c.Now.Owner] = known[i]
		}
		return errors.Join(err, e.store.ChangePolicies(before, added), e.rebuild())
	}

	e.installAll(changes, known, batch)
	return nil
}

// adoptAll makes new policies keep addresses, and returns the former answers. mu must be held.
func (e *Enforcer) adoptAll(changes []tables.Change) (known []*answered.Book) {
	for i, c := range changes {
		known = append(known, e.books[c.Now.Owner])
		e.adopt(c.Now, c.Old)
		changes[i].Before, changes[i].Learned = left(known[i]), left(e.books[c.Now.Owner])
	}
	return known
}

// installAll completes changes after the kernel has them, with the answers before. mu must be held.
func (e *Enforcer) installAll(changes []tables.Change, known []*answered.Book, batch []*request) {
	cuts := map[string][]conntrack.Selector{}
	for i, c := range changes {
		e.checkServers(c.Now.Owner, c.Now)
		e.setInstalled(c.Now.Owner, c.Now)
		cuts[c.Now.Owner] = e.cuts(c.Now, c.Old, known[i])
	}
	for _, r := range batch {
		r.cuts = cuts[r.c.Owner]
	}
}
