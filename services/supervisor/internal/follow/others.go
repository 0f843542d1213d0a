package follow

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
)

// Delays of followOthers.
const (
	othersRetryMin = 100 * time.Millisecond
	othersRetryMax = 5 * time.Second
	othersInterval = 50 * time.Millisecond // between two pushes, which joins changes
)

// Follow follows refusals and the containers of other hosts until ctx ends.
func (r Egress) Follow(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { r.followRefusals(ctx) })
	all.Go(func() { r.followOthers(ctx) })
	all.Wait()
}

// followOthers follows the containers of other hosts until ctx ends, for rules that name containers and labels.
// While fleetagent is away, the last known ones remain.
func (r Egress) followOthers(ctx context.Context) {
	if !r.Agents.HasFleet() {
		return
	}
	changed := notify.NewSignal()
	var task sync.WaitGroup
	task.Go(func() { r.pushOthers(ctx, changed) })
	defer task.Wait()

	wait := othersRetryMin
	for ctx.Err() == nil {
		err := r.Agents.FollowOthers(ctx, func(c agents.OthersChange) {
			wait = othersRetryMin
			if r.Policies.Others.Apply(c) {
				changed.Notify()
			}
		})
		if ctx.Err() == nil {
			r.Log.DebugContext(ctx, "containers of other hosts not received", "error", err)
		}
		pause(ctx, wait)
		wait = min(2*wait, othersRetryMax)
	}
}

// pushOthers sends the addresses of containers of other hosts to natagent after each change.
func (r Egress) pushOthers(ctx context.Context, changed notify.Signal) {
	for changed.Wait(ctx, 0) == nil {
		limited, cancel := agents.WithTimeout(ctx)
		err := r.Policies.Push(limited)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("addresses of other hosts not updated, retrying", "error", err)
			r.RequestSync()
		}
		pause(ctx, othersInterval)
	}
}
