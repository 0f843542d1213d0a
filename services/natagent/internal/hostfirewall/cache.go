package hostfirewall

import (
	"context"
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// late is how long word of a transaction may come after it can be seen.
const late = 100 * time.Millisecond

// cache has the ruleset as long as nobody has changed it. To ask it is to ask the kernel for the number of the last transaction; what the
// transactions since were about the kernel tells without being asked.
type cache struct {
	ns   hostns.NS
	own  string
	link *nflink.Link // nil on a kernel without nf_tables

	reading sync.Mutex // one reads at a time

	mu    sync.Mutex
	rules *ruleset      // nil: none that is right
	heard uint32        // the last transaction that was told of
	hears bool          // somebody listens
	news  chan struct{} // closed and made anew with each
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

// get is the ruleset as it is now; nil where there is none, or it cannot be read.
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
	if c.rules = rs; int32(c.heard-rs.generation) > 0 {
		c.rules = nil // what was told of meanwhile was not compared with it
	}
	return rs
}

// valid is the ruleset that was read last, if nothing until a transaction has changed it.
func (c *cache) valid(ctx context.Context, transaction uint32) *ruleset {
	for deadline := time.After(late); ; {
		c.mu.Lock()
		rs, news := c.rules, c.news
		if rs != nil && c.hears && int32(c.heard-transaction) >= 0 {
			rs.generation = transaction
		}
		waits := rs != nil && rs.generation != transaction && c.hears
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

// watch hears the kernel until ctx ends.
func (c *cache) watch(ctx context.Context) {
	const again = time.Second
	for c.link != nil && ctx.Err() == nil {
		c.listen(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(again):
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
		c.deaf()
		_ = monitor.Close()
		for range events { // lets the library's goroutine end
		}
	}()
	gen, err := c.link.GetGen()
	if err != nil {
		return
	}
	c.note(gen.ID, func(rs *ruleset) bool { return rs.generation != gen.ID }) // what was before is not known
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
				return // something was lost
			}
			c.note(gen.ID, func(rs *ruleset) bool { return rs.concerns(e.Changes) })
		}
	}
}

// note takes word of a transaction, which may have changed the ruleset.
func (c *cache) note(transaction uint32, changed func(*ruleset) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules != nil && int32(transaction-c.rules.generation) > 0 && changed(c.rules) {
		c.rules = nil
	}
	c.heard, c.hears = transaction, true
	close(c.news)
	c.news = make(chan struct{})
}

// deaf says that nobody listens any more.
func (c *cache) deaf() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hears, c.rules = false, nil
	close(c.news)
	c.news = make(chan struct{})
}
