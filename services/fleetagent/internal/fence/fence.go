// Package fence keeps a manager from continuing a store that was replaced by a recovery or a restore while the
// manager was away. Each of them starts a generation, with a higher number than all before. Hosts keep the
// highest number that they have seen, and a manager asks them before it starts its store.
//
// The package makes no call itself, and knows where the number is stored. It is used by fleetagent.
package fence

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Next returns the generation that follows another one. It is higher than that of an older backup too, because
// it is not below the time in seconds.
func Next(last uint64, now time.Time) uint64 { return max(last+1, uint64(max(0, now.Unix()))) }

// Fence holds the highest generation that this host knows. It is safe for concurrent use.
type Fence struct {
	mu       sync.Mutex
	known    uint64
	asked    time.Time
	answered bool // any host, ever
}

// New returns a fence of a host that knows a generation.
func New(known uint64) *Fence { return &Fence{known: known} }

// Learn notes a generation and reports whether it is higher than all before.
func (f *Fence) Learn(generation uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if generation <= f.known {
		return false
	}
	f.known = generation
	return true
}

// Known returns the highest generation.
func (f *Fence) Known() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// Check returns an error if the store of a generation was replaced.
func (f *Fence) Check(generation uint64) error {
	if known := f.Known(); generation < known {
		return fault.New(fault.Conflict, "store of generation "+strconv.FormatUint(generation, 10),
			"was replaced by that of generation "+strconv.FormatUint(known, 10)+" while this host was away",
			fault.WithHint("nothing to do: a manager gives this host a copy of the other store, or, if this host was "+
				"removed: fairlead fleet leave --force"))
	}
	return nil
}

// Due reports whether hosts are to be asked now: each interval, and always until one has answered. The first
// answer can come when the network of the host is up, or its certificate is accepted.
func (f *Fence) Due(now time.Time, interval time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.answered || now.Sub(f.asked) > interval
}

// Ask asks hosts for the generations that they know, all at the same time, until ctx ends. Hosts that do not
// answer do not count.
func (f *Fence) Ask(ctx context.Context, hosts []string, ask func(ctx context.Context, host string) (uint64, error)) {
	var asked sync.WaitGroup
	var answers atomic.Int32
	for _, h := range hosts {
		asked.Go(func() {
			if generation, err := ask(ctx, h); err == nil {
				f.Learn(generation)
				answers.Add(1)
			}
		})
	}
	asked.Wait()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.answered = time.Now(), f.answered || answers.Load() > 0
}
