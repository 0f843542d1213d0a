package etcd

import (
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How often a watch is compared with the store: its revision, and all values.
const (
	checkEvery = 5 * time.Second
	auditEvery = 5 * time.Minute
	listTime   = 10 * time.Second
)

// Position is a moment of a store.
type Position struct {
	Cluster  uint64
	Revision int64
}

// Change is a value that was set, or the key of one that was deleted.
type Change struct {
	Value
	Deleted bool
}

// Sink receives the values below a prefix. Its methods are called one at a time.
type Sink interface {
	// Reset replaces all values. An error means that they are not accepted; they are listed again then.
	Reset(all []Value, at Position) error
	// Apply changes values. Changes of one transaction come together.
	Apply(changes []Change, at Position)
	// Unreachable reports why the store cannot be reached. Values that are known stay known.
	Unreachable(err error)
}

// Sync keeps a sink equal to the values below a prefix until ctx ends.
//
// Each time a watch ends, the values are listed again, and a new watch starts at the revision of
// that list. A watch also ends if its revision was compacted, if the store has no leader, and if the
// store is found to be another one or at an earlier revision: after a restore from a backup, a watch
// would wait silently for a revision of the future. Every five minutes all values are listed, so
// that a lost event has no lasting effect.
func (c *Client) Sync(ctx context.Context, prefix string, sink Sink) {
	for ctx.Err() == nil {
		if err := c.follow(ctx, prefix, sink); err != nil && ctx.Err() == nil {
			sink.Unreachable(err)
			select {
			case <-ctx.Done():
			case <-time.After(reconnectDelay / 4):
			}
		}
	}
}

// follow lists the values and watches them until the watch ends. Nil means that they are to be
// listed again.
func (c *Client) follow(ctx context.Context, prefix string, sink Sink) error {
	list, at, err := c.list(ctx, prefix, listTime)
	if err != nil {
		return err
	}
	if err := sink.Reset(list, at); err != nil {
		return err
	}

	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := c.c.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(at.Revision+1))
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	audit := time.NewTimer(auditEvery*4/5 + rand.N(auditEvery*2/5))
	defer audit.Stop()
	for {
		select {
		case <-audit.C:
			return nil
		case <-check.C:
			if same, err := c.isAt(ctx, prefix, at); err != nil || !same {
				return err
			}
		case r, ok := <-events:
			if !ok {
				return ctx.Err()
			}
			if err := r.Err(); err != nil {
				return failed(err)
			}
			at.Revision = r.Header.Revision
			if len(r.Events) > 0 {
				sink.Apply(changes(r.Events), at)
			}
		}
	}
}

func changes(events []*clientv3.Event) []Change {
	all := make([]Change, 0, len(events))
	for _, e := range events {
		all = append(all, Change{Value{string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision},
			e.Type == clientv3.EventTypeDelete})
	}
	return all
}

// isAt reports whether the store is the one of a position, or a later state of it.
func (c *Client) isAt(ctx context.Context, key string, at Position) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Get(ctx, key, clientv3.WithCountOnly())
	if err != nil {
		return false, failed(err)
	}
	return r.Header.ClusterId == at.Cluster && r.Header.Revision >= at.Revision, nil
}
