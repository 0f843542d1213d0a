// Package control runs controllers. A controller brings the object of a key to its desired state with one function,
// whatever has changed. The keys of changed objects are added to its queue; the queue merges them and calls the
// function after a delay, and again with a growing delay after an error.
//
// The function reads the current state itself. A call for a key covers all changes before it, so keys need no content
// and none is lost. Calls for one key never overlap.
//
// The package uses neither kernel nor store. Package state adds the keys of changed records; see its Watch.
package control

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
)

// Default delays after errors.
const (
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = 30 * time.Second
)

// Sync brings the object of a key to its desired state. It must return soon after ctx ends. If again is positive, it
// is called again after this time, at the latest. After an error it is called again with back-off, and again is
// ignored.
type Sync[K comparable] func(ctx context.Context, key K) (again time.Duration, err error)

// Config configures a controller. The zero value is valid.
type Config[K comparable] struct {
	// Workers is the number of concurrent calls. Zero means one.
	Workers int
	// Delay is the time between Add and the call. It joins bursts of changes, and lets the writer of a change, which
	// often applies it itself, finish first.
	Delay time.Duration
	// MinBackoff is the delay after the first error. It doubles with each consecutive error of the key, up to
	// MaxBackoff. Zero means 100 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// Resync is the interval at which all keys of List are added, the first time when Run starts. Zero means never.
	Resync time.Duration
	// List returns the keys of all objects. It is required if Resync is positive.
	List func() []K
	// OnError is called after each error. It can be nil.
	OnError func(key K, err error, retryAfter time.Duration)
}

// Controller calls a Sync function for the keys that are added to it. It is safe for concurrent use.
type Controller[K comparable] struct {
	sync   Sync[K]
	config Config[K]
	wake   notify.Signal // notified when the earliest call has changed

	mu    sync.Mutex
	queue queue[K]
}

// New returns a controller. It makes no calls until Run.
func New[K comparable](sync Sync[K], c Config[K]) *Controller[K] {
	c.Workers = max(c.Workers, 1)
	if c.MinBackoff <= 0 {
		c.MinBackoff = defaultMinBackoff
	}
	if c.MaxBackoff <= 0 {
		c.MaxBackoff = defaultMaxBackoff
	}
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	return &Controller[K]{sync: sync, config: c, wake: notify.NewSignal(), queue: newQueue[K]()}
}

// Add requests a call for each key after the configured delay. A key that is waiting is called once: at the earlier
// of both times, even if it waits because of an error. A key whose call is running is called again after it. Add does
// not block, and can be called before Run.
func (c *Controller[K]) Add(keys ...K) { c.AddAfter(c.config.Delay, keys...) }

// AddAfter is Add with another delay. Zero means immediately.
func (c *Controller[K]) AddAfter(delay time.Duration, keys ...K) {
	if len(keys) == 0 {
		return
	}

	due := time.Now().Add(delay)
	c.mu.Lock()
	for _, key := range keys {
		c.queue.add(key, due)
	}
	c.mu.Unlock()
	c.wake.Notify()
}

// Run calls the function for added keys until ctx ends, and returns when no call is running. It must be called at most
// once. Keys that are still waiting stay uncalled.
func (c *Controller[K]) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for range c.config.Workers {
		all.Go(func() { c.work(ctx) })
	}
	if c.config.Resync > 0 {
		all.Go(func() { c.resync(ctx) })
	}
}

// resync adds all keys at each interval.
func (c *Controller[K]) resync(ctx context.Context) {
	tick := time.NewTicker(c.config.Resync)
	defer tick.Stop()
	for {
		c.AddAfter(0, c.config.List()...)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// work calls the function for one key after the other.
func (c *Controller[K]) work(ctx context.Context) {
	for ctx.Err() == nil {
		key, wait, ok := c.next()
		if !ok {
			c.pause(ctx, wait)
			continue
		}
		again, err := c.sync(ctx, key)
		c.done(ctx, key, again, err)
	}
}

// next returns a key that is due and marks it as running. If none is due, it returns the time until the next one, and
// a negative time if no key is waiting.
func (c *Controller[K]) next() (key K, wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, wait, ok = c.queue.take(time.Now())
	if ok && c.queue.waiting() {
		c.wake.Notify() // merged notifications can have woken this worker only
	}
	return key, wait, ok
}

// pause waits until a key can be due.
func (c *Controller[K]) pause(ctx context.Context, wait time.Duration) {
	var due <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-c.wake:
	case <-ctx.Done():
	}
}

// done records the result of a call.
func (c *Controller[K]) done(ctx context.Context, key K, again time.Duration, err error) {
	if err != nil && ctx.Err() != nil {
		return // stopped, not failed
	}

	c.mu.Lock()
	now := time.Now()
	if err != nil {
		again = c.queue.fail(key, c.config.MinBackoff, c.config.MaxBackoff)
	} else {
		c.queue.succeed(key)
	}
	if again > 0 {
		c.queue.add(key, now.Add(again))
	}
	c.queue.finish(key)
	c.mu.Unlock()

	c.wake.Notify()
	if err != nil && c.config.OnError != nil {
		c.config.OnError(key, err, again)
	}
}
