package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead/fairlead/proto/fault"
)

// Presence is a key that exists while this process renews its lease.
type Presence struct {
	Key string
	// Data identifies the machine. A presence with other data is that of another machine, which has
	// a copy of this one's identity.
	Data []byte
	// Epoch is a key that is changed with each registration. The revision of that change is the
	// epoch of the host.
	Epoch string
	Life  time.Duration // of the lease after the last renewal
}

// registered is the state of a presence.
type registered struct {
	lease clientv3.LeaseID // 0: none
	epoch int64
}

// Keep keeps a presence until ctx ends, and then deletes its key. It calls changed with the epoch
// when the key is known to exist and with an error when the store cannot be reached.
//
// The lease is renewed by single calls, three in its life, and the same lease is renewed after every
// error but one: that the lease does not exist. The client's own KeepAlive gives up after one life
// without an answer, even if the store returns with the lease intact.
func (c *Client) Keep(ctx context.Context, p Presence, changed func(epoch int64, err error)) {
	var r registered
	delay := p.Life / 3
	for {
		err := c.renew(ctx, p, &r)
		if ctx.Err() != nil {
			break
		}
		changed(r.epoch, err)
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

	if r.lease != 0 {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
		defer cancel()
		_, _ = c.c.Revoke(end, r.lease) // a lease that cannot be revoked expires
	}
}

// renew renews the lease, or makes a new one with the key if there is none.
func (c *Client) renew(ctx context.Context, p Presence, r *registered) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if r.lease != 0 {
		_, err := c.c.KeepAliveOnce(ctx, r.lease)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, rpctypes.ErrLeaseNotFound):
			return failed(err)
		}
		*r = registered{}
	}

	granted, err := c.c.Grant(ctx, int64(p.Life/time.Second))
	if err != nil {
		return failed(err)
	}
	epoch, err := c.register(ctx, p, granted.ID)
	if err != nil {
		_, _ = c.c.Revoke(ctx, granted.ID) // or it expires
		return err
	}
	*r = registered{granted.ID, epoch}
	return nil
}

// register creates the key. The key of an earlier process of the same machine is replaced.
func (c *Client) register(ctx context.Context, p Presence, lease clientv3.LeaseID) (int64, error) {
	puts := []clientv3.Op{clientv3.OpPut(p.Epoch, string(p.Data)),
		clientv3.OpPut(p.Key, string(p.Data), clientv3.WithLease(lease))}
	r, err := c.c.Txn(ctx).If(Absent(p.Key)).Then(puts...).Else(clientv3.OpGet(p.Key)).Commit()
	if err != nil {
		return 0, failed(err)
	}
	if r.Succeeded {
		return r.Header.Revision, nil
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		if string(kvs[0].Value) != string(p.Data) {
			return 0, duplicate(string(kvs[0].Value), string(p.Data))
		}
		r, err = c.c.Txn(ctx).If(Unchanged(p.Key, kvs[0].ModRevision)).Then(puts...).Commit()
		if err != nil {
			return 0, failed(err)
		}
	}
	if !r.Succeeded {
		return 0, fault.New(fault.Busy, "presence of this host", "changed meanwhile")
	}
	return r.Header.Revision, nil
}

// duplicate returns the fault of a host whose identity another machine uses.
func duplicate(other, own string) error {
	return fault.New(fault.Conflict, "host", "is alive already, as "+other+", and this machine is "+own,
		fault.WithHint("this machine is a copy of that one, or it was restarted seconds ago; on a copy: fairlead "+
			"fleet leave --force, then join again"))
}
