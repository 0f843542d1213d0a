package etcd

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Follow calls changed with all values below a prefix, first with the present ones and then after
// each change, until ctx ends. While the store cannot be reached, it calls failed with the reason
// and tries again; values that are known stay known.
//
// Each time a watch ends, for whatever reason, the values are listed again, and a new watch starts
// at the revision of that list. This covers a compacted revision, a store without a leader and a
// store that was restored from an older backup, in which a watch from a future revision would stay
// silent.
func (c *Client) Follow(ctx context.Context, prefix string, changed func([]Value), failed func(error)) {
	for ctx.Err() == nil {
		if err := c.follow(ctx, prefix, changed); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectDelay / 4):
		}
	}
}

// follow lists the values and watches them until the watch ends.
func (c *Client) follow(ctx context.Context, prefix string, changed func([]Value)) error {
	list, revision, err := c.list(ctx, prefix)
	if err != nil {
		return err
	}
	known := map[string]Value{}
	for _, v := range list {
		known[v.Key] = v
	}
	changed(list)

	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range c.c.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1),
		clientv3.WithProgressNotify()) {
		if err := r.Err(); err != nil {
			return failed(err)
		}
		if len(r.Events) == 0 {
			continue
		}
		for _, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				delete(known, string(e.Kv.Key))
				continue
			}
			known[string(e.Kv.Key)] = Value{string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision}
		}
		changed(sorted(known))
	}
	return nil
}

func sorted(known map[string]Value) []Value {
	return slices.SortedFunc(maps.Values(known), func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
}
