package hostfirewall

import (
	"context"
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// eventTimeout is the maximum wait for the event of a transaction that has already happened.
const eventTimeout = 100 * time.Millisecond

// cache holds the ruleset until it changes. Validating it takes one request, for the number of the
// last transaction; events describe the transactions since the ruleset was read.
type cache struct {
	ns   hostns.NS
	own  string
	link *nflink.Link // nil if the kernel has no nf_tables

	reading sync.Mutex // serializes reads

	mu        sync.Mutex
	rules     *ruleset      // nil: invalid
	notedID   uint32        // the last transaction with an event
	listening bool          // events are being received
	news      chan struct{} // closed and replaced for each event
}

func newCache(ns hostns.NS, own string) *cache {
	c := &cache{ns: ns, own: own, news: make(chan struct{})}
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
		c.listen(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

func (c *cache) listen(ctx context.Context) {
	conn, err := nftables.New(nftables.WithNetNSFd(c.ns.Fd()))
	if err != nil {
		return
	}

	monitor := nftables.NewMonitor()
	events, err := conn.AddGenerationalMonitor(monitor)
	if err != nil {
		return
	}
	defer func() {
		c.stopped()
		_ = monitor.Close()
		for range events { // lets the library's goroutine exit
		}
	}()

	gen, err := c.link.GetGen()
	if err != nil {
		return
	}

	c.note(gen.ID, func(rs *ruleset) bool { return rs.generation != gen.ID }) // earlier transactions are unknown
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			gen, ok := e.GeneratedBy.Data.(*nftables.Gen)
			if !ok || gen == nil {
				return // an event was lost
			}
			c.note(gen.ID, func(rs *ruleset) bool { return rs.affectedBy(e.Changes) })
		}
	}
}

// note records the event of a transaction and invalidates the ruleset if it changed.
func (c *cache) note(transaction uint32, changed func(*ruleset) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
