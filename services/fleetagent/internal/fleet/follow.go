package fleet

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fence"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Times of repeated tasks.
const (
	sweepEvery = time.Minute
	sweepDelay = time.Second
)

// sink passes the records of the store on: to the mirror, and a new full state to the publisher.
type sink struct{ *part }

// Reset replaces all records. Those of a store that was replaced are not accepted.
func (s sink) Reset(all []etcd.Value, at etcd.Position) error {
	if generation, ok := fence.Of(s.keys, all); ok {
		if err := s.fence.Check(generation); err != nil {
			return err
		}
	}
	s.mirror.Reset(all, at)
	s.publisher.Compare()
	s.learnView()
	return nil
}

// Apply changes records.
func (s sink) Apply(changes []etcd.Change, at etcd.Position) {
	s.mirror.Apply(changes, at)
	s.learnView()
}

// learnView learns the generation of the store.
func (s sink) learnView() {
	var generation uint64
	s.mirror.Read(func(v *view.View) { generation = v.Generation() })
	if s.fence.Learn(generation) {
		roles(s).saveGeneration()
	}
}

// Unreachable notes why the store cannot be reached.
func (s sink) Unreachable(err error) { s.mirror.Unreachable(err) }

// keepPresence renews this host's lease.
func (p *part) keepPresence(ctx context.Context) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		p.cfg.Log.Warn("boot ID cannot be read", "error", err)
	}
	m := p.membership()
	var denied time.Time // since when the store does not know this host
	p.client.Keep(ctx, etcd.Presence{Key: p.keys.Presence(m.Host), Epoch: p.keys.Epoch(m.Host), Life: p.cfg.Lease,
		Data: []byte(m.Address + " since boot " + strings.TrimSpace(string(boot)))},
		func(epoch int64, err error) {
			p.outage.Note(err)
			switch {
			case err == nil:
				denied = time.Time{}
				p.mirror.SetRemoved(false)
				p.publisher.Registered(epoch)
			case fault.KindOf(err) != fault.Denied:
				denied = time.Time{}
			case denied.IsZero():
				denied = time.Now()
			case time.Since(denied) >= p.cfg.Lease: // a restored store can lack the host for a moment
				p.mirror.SetRemoved(true)
			}
		})
}

// follow does what follows from changes of the view, until ctx ends: it notes that this host is
// alive, and that it has seen a change of the networks.
func (p *part) follow(ctx context.Context) {
	seen := int64(0)
	for ctx.Err() == nil {
		changed := p.mirror.Changed()
		present, pool := false, int64(0)
		p.mirror.Read(func(v *view.View) {
			present = v.Hosts()[p.membership().Host] != nil && v.Alive(p.membership().Host)
			pool = v.Pool()
		})
		if present && p.mirror.Synced() {
			p.notePresence()
		}
		if pool > 0 && pool != seen {
			seen = pool
			p.publisher.Set(map[string][]byte{p.keys.Seen(p.membership().Host): record.EncodeRevision(pool)})
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// notePresence closes present.
func (p *part) notePresence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.present:
	default:
		close(p.present)
	}
}

// restored adds records to a store that was restored from a backup and lacks them. Managers only.
func (p *part) restored(missing []etcd.Value) {
	a, err := p.admission()
	if err != nil || len(missing) == 0 {
		return
	}
	p.tasks.Go(func() {
		err := p.ledger().Restore(p.ctx, missing, a.Readmit)
		p.cfg.Log.Warn("records added that the restored store lacked", "records", len(missing), "error", err)
	})
}

// emit emits an event of the fleet.
func (p *part) emit(action string, attributes map[string]string) {
	p.cfg.Events.Emit(events.Fleet, action, p.membership().Fleet, attributes)
}

// sweep removes from time to time, on managers, what is left in the store: deleted networks that no host has any
// more, and what removed hosts had.
func (p *part) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		if p.membership().IsManager() {
			if err := p.ledger().Sweep(ctx); err != nil && ctx.Err() == nil {
				p.cfg.Log.Debug("store not swept", "error", err)
			}
		}
		delay := sweepEvery
		p.mirror.Read(func(v *view.View) {
			if v.Deleted() {
				delay = sweepDelay
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// returnIdle asks netagent from time to time for blocks that are not needed.
func (p *part) returnIdle(ctx context.Context) {
	tick := time.NewTicker(max(p.cfg.Idle/10, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		idle := p.usage.Idle(p.cfg.Now(), p.cfg.Idle)
		p.mu.Unlock()
		for _, b := range idle {
			p.mirror.Request(&fleetv1.BlockRequest{NetworkId: b.GetNetworkId(), Prefix: b.GetPrefix()})
		}
	}
}

// dropReplica removes the copy of the store: this host is not part of the fleet any more.
func (p *part) dropReplica() { removeReplica(p.cfg) }

func removeReplica(cfg Config) {
	if err := os.RemoveAll(cfg.ReplicaDir); err != nil {
		cfg.Log.Error("copy of the store not removed", "error", err)
	}
}
