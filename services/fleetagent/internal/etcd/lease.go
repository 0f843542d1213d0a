package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Presence is a key that exists while this process renews its lease.
type Presence struct {
	Key  string
	Data []byte
	Life time.Duration // of the lease after the last renewal
}

// Keep keeps a presence until ctx ends, and then deletes its key. It calls changed with nil when the
// key is known to exist and with an error when the store cannot be reached.
//
// The lease is renewed by single calls, three in its life, and the same lease is renewed after every
// error but one: that the lease does not exist. The client's own KeepAlive gives up after one life
// without an answer, even if the store returns with the lease intact.
func (c *Client) Keep(ctx context.Context, p Presence, changed func(error)) {
	var lease clientv3.LeaseID
	delay := p.Life / 3
	for {
		err := c.renew(ctx, p, &lease)
		if ctx.Err() != nil {
			break
		}
		changed(err)
		wait := delay
		if err != nil {
			wait = min(delay, reconnectDelay)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			continue
		}
		break
	}

	if lease != 0 {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
		defer cancel()
		_, _ = c.c.Revoke(end, lease) // a lease that cannot be revoked expires
	}
}

// renew renews the lease, or makes a new one with the key if there is none.
func (c *Client) renew(ctx context.Context, p Presence, lease *clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if *lease != 0 {
		_, err := c.c.KeepAliveOnce(ctx, *lease)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, rpctypes.ErrLeaseNotFound):
			return failed(err)
		}
		*lease = 0
	}

	granted, err := c.c.Grant(ctx, int64(p.Life/time.Second))
	if err != nil {
		return failed(err)
	}
	if _, err := c.c.Put(ctx, p.Key, string(p.Data), clientv3.WithLease(granted.ID)); err != nil {
		return failed(err)
	}
	*lease = granted.ID
	return nil
}
