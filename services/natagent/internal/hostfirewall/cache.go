package hostfirewall

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// eventTimeout is the maximum wait for the event of a transaction that has already happened.
const eventTimeout = 100 * time.Millisecond

// cache holds the ruleset until it changes. Validating it takes one request, for the number of the
// last transaction; events describe the transactions since the ruleset was read.
type cache struct {
	events *nfevents.Source
	own    string
	link   *nflink.Link // nil if the kernel has no nf_tables

	reading sync.Mutex // serializes reads

	mu        sync.Mutex
	rules     *ruleset      // nil: invalid
	notedID   uint32        // the last transaction with an event
	listening bool          // events are being received
	news      chan struct{} // closed and replaced for each event
}

func newCache(ns hostns.NS, events *nfevents.Source, own string) *cache {
	c := &cache{events: events, own: own, news: make(chan struct{})}
	if link, err := nflink.Open(ns); err == nil {
		c.link = link
	}
	return c
}

func (c *cache) close() error {
	if c.link == nil {
		return nil
	}
	return c.link.Close()
}

// get returns the current ruleset; nil if there is none or it cannot be read.
func (c *cache) get(ctx context.Context) *ruleset {
	if c.link == nil {
		return nil
	}

	c.reading.Lock()
	defer c.reading.Unlock()
	gen, err := c.link.GetGen()
	if err != nil {
		return nil
	}
	if rs := c.valid(ctx, gen.ID); rs != nil {
		return rs
	}

	rs, err := readRuleset(ctx, c.link, c.own)
	if err != nil {
		return nil
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules = rs; int32(c.notedID-rs.generation) > 0 {
		c.rules = nil // its event came before the ruleset was stored
	}

	return rs
}

// valid returns the cached ruleset if no transaction up to the given one has changed it.
func (c *cache) valid(ctx context.Context, transaction uint32) *ruleset {
	for deadline := time.After(eventTimeout); ; {
		c.mu.Lock()
		rs, news := c.rules, c.news
		if rs != nil && c.listening && int32(c.notedID-transaction) >= 0 {
			rs.generation = transaction
		}
		waits := rs != nil && rs.generation != transaction && c.listening
		c.mu.Unlock()
		switch {
		case rs == nil:
			return nil
		case rs.generation == transaction:
			return rs
		case !waits:
			return nil
		}
		select {
		case <-news:
		case <-deadline:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// watch receives events until ctx ends.
func (c *cache) watch(ctx context.Context) {
	const retry = time.Second
	for c.link != nil && ctx.Err() == nil {
		cancel, err := c.events.Subscribe(c.handle)
		if err == nil {
			c.restart()
			<-ctx.Done()
			cancel()
			c.stopped()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// handle records an event.
func (c *cache) handle(t nfevents.Transaction) {
	c.mu.Lock()
	listening := c.listening
	c.mu.Unlock()
	switch {
	case t.Lost:
		c.stopped()
		c.restart()
	case listening:
		c.note(t.Generation, func(rs *ruleset) bool { return rs.affectedBy(t.Changes) })
	default:
		c.restart()
	}
}

// restart begins to record events. The transactions up to now are unknown.
func (c *cache) restart() {
	if gen, err := c.link.GetGen(); err == nil {
		c.note(gen.ID, func(rs *ruleset) bool { return rs.generation != gen.ID })
	}
}

// note records the event of a transaction and invalidates the ruleset if it changed.
func (c *cache) note(transaction uint32, changed func(*ruleset) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listening && int32(transaction-c.notedID) <= 0 {
		return // it was already part of the state at the start
	}
	if c.rules != nil && int32(transaction-c.rules.generation) > 0 && changed(c.rules) {
		c.rules = nil
	}
	c.notedID, c.listening = transaction, true
	close(c.news)
	c.news = make(chan struct{})
}

// stopped records that no events are received any more, and invalidates the ruleset.
func (c *cache) stopped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listening, c.rules = false, nil
	close(c.news)
	c.news = make(chan struct{})
}
