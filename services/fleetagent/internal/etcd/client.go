// Package etcd is the client of the fleet's store. It holds the settings that keep hosts in their
// fleet through an outage: reconnects at least every two seconds, leases that are renewed until they
// are known to be lost, and watches that notice a store without a leader.
//
// It knows keys and values, not what they mean. It is used by fleetagent and imports the etcd client
// alone.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of calls and connections. The delay between reconnects is far below the shortest lease: with
// gRPC's default of two minutes, hosts lost their lease after an outage of the store.
const (
	CallTimeout      = 2 * time.Second
	reconnectDelay   = 2 * time.Second
	connectTimeout   = 3 * time.Second
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
)

// Client is a connection to the store.
type Client struct{ c *clientv3.Client }

// Value is a value with the revision of its last change.
type Value struct {
	Key      string
	Data     []byte
	Revision int64
}

// Dial returns a client. It does not wait for a connection.
func Dial(urls []string, config *tls.Config) (*Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: urls, TLS: config, Logger: zap.NewNop(),
		DialKeepAliveTime: keepaliveTime, DialKeepAliveTimeout: keepaliveTimeout,
		DialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: .3,
					MaxDelay: reconnectDelay},
				MinConnectTimeout: connectTimeout,
			})},
	})
	if err != nil {
		return nil, fault.New(fault.Internal, "store", "client cannot be made", fault.WithCause(err))
	}
	return &Client{c}, nil
}

// SetURLs replaces the addresses of the store's members.
func (c *Client) SetURLs(urls []string) {
	if !slices.Equal(urls, c.c.Endpoints()) {
		c.c.SetEndpoints(urls...)
	}
}

// Close closes the connection.
func (c *Client) Close() error {
	if err := c.c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Get returns the value of a key.
func (c *Client) Get(ctx context.Context, key string) (Value, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Get(ctx, key)
	if err != nil {
		return Value{}, false, failed(err)
	}
	if len(r.Kvs) == 0 {
		return Value{}, false, nil
	}
	return Value{key, r.Kvs[0].Value, r.Kvs[0].ModRevision}, true, nil
}

// FirstKey returns the first key below a prefix, if there is one.
func (c *Client) FirstKey(ctx context.Context, prefix string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	if err != nil || len(r.Kvs) == 0 {
		return "", false, failed(err)
	}
	return string(r.Kvs[0].Key), true, nil
}

// Calls returns the connection, for calls that are passed on as they are.
func (c *Client) Calls() grpc.ClientConnInterface { return c.c.ActiveConnection() }

// List returns the values below a prefix, sorted by key, all of one revision.
func (c *Client) List(ctx context.Context, prefix string) ([]Value, error) {
	all, _, err := c.list(ctx, prefix, CallTimeout)
	return all, err
}

// ListCopy returns the values below a prefix as the server has them, also if it has no leader or vote.
func (c *Client) ListCopy(ctx context.Context, prefix string) ([]Value, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	r, err := c.c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return nil, failed(err)
	}
	all := make([]Value, 0, len(r.Kvs))
	for _, kv := range r.Kvs {
		all = append(all, Value{Key: string(kv.Key), Data: kv.Value, Revision: kv.ModRevision})
	}
	return all, nil
}

func (c *Client) list(ctx context.Context, prefix string, limit time.Duration) ([]Value, Position, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := c.c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, Position{}, failed(err)
	}

	all := make([]Value, 0, len(r.Kvs))
	for _, kv := range r.Kvs {
		all = append(all, Value{string(kv.Key), kv.Value, kv.ModRevision})
	}
	return all, Position{r.Header.ClusterId, r.Header.Revision}, nil
}

// Condition must hold for a transaction to have an effect.
type Condition = clientv3.Cmp

// Absent is the condition that a key does not exist.
func Absent(key string) Condition { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

// Unchanged is the condition that a key was last changed in a revision.
func Unchanged(key string, revision int64) Condition {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}

// NoneBelow is the condition that no key exists below a prefix.
func NoneBelow(prefix string) Condition {
	return clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix()
}

// NoneBetween is the condition that no key from first up to, and without, end exists.
func NoneBetween(first, end string) Condition {
	return clientv3.Compare(clientv3.CreateRevision(first), "=", 0).WithRange(end)
}

// OnlyBelow are the conditions that no key but one exists below a prefix.
func OnlyBelow(prefix, key string) []Condition {
	return []Condition{NoneBetween(prefix, key), NoneBetween(key+"\x00", clientv3.GetPrefixRangeEnd(prefix))}
}

// Present is the condition that a key exists.
func Present(key string) Condition { return clientv3.Compare(clientv3.CreateRevision(key), ">", 0) }

// Op is a change.
type Op = clientv3.Op

// Put sets a value.
func Put(key string, data []byte) Op { return clientv3.OpPut(key, string(data)) }

// Delete deletes a key.
func Delete(key string) Op { return clientv3.OpDelete(key) }

// DeleteBelow deletes all keys below a prefix.
func DeleteBelow(prefix string) Op { return clientv3.OpDelete(prefix, clientv3.WithPrefix()) }

// Lease is the life of values: they are deleted when it ends.
type Lease = clientv3.LeaseID

// Grant returns a new lease that ends after a time. It is not renewed.
func (c *Client) Grant(ctx context.Context, life time.Duration) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Grant(ctx, int64(max(1, life/time.Second)))
	if err != nil {
		return 0, failed(err)
	}
	return r.ID, nil
}

// PutLeased sets a value that lives as long as a lease.
func PutLeased(key string, data []byte, lease Lease) Op {
	return clientv3.OpPut(key, string(data), clientv3.WithLease(lease))
}

// Commit makes all changes, or none if a condition does not hold, which it reports as false. An
// error may mean that the changes were made: the caller repeats the call with conditions that
// recognise its own changes.
func (c *Client) Commit(ctx context.Context, conditions []Condition, changes ...Op) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	r, err := c.c.Txn(ctx).If(conditions...).Then(changes...).Commit()
	if err != nil {
		return false, failed(err)
	}
	return r.Succeeded, nil
}

// PutFor sets a value that is deleted after a time, unless the key exists, which it reports as
// false.
func (c *Client) PutFor(ctx context.Context, key string, data []byte, life time.Duration) (bool, error) {
	lease, err := c.Grant(ctx, life)
	if err != nil {
		return false, err
	}
	return c.Commit(ctx, []Condition{Absent(key)}, PutLeased(key, data, lease))
}

// ReplaceOp returns the condition that a value is unchanged and the change that replaces it and
// keeps its lease.
func (c *Client) ReplaceOp(old Value, data []byte) (Condition, Op) {
	return Unchanged(old.Key, old.Revision), clientv3.OpPut(old.Key, string(data), clientv3.WithIgnoreLease())
}

// failed returns the fault of a failed call. It returns nil for nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, rpctypes.ErrNoSpace) {
		return fault.New(fault.Unavailable, "store", "is full, and accepts no changes", fault.WithCause(err),
			fault.WithHint("on an etcd of your own: compact and defragment it or raise its quota, then etcdctl alarm "+
				"disarm"))
	}
	for _, denied := range []error{rpctypes.ErrPermissionDenied, rpctypes.ErrUserNotFound, rpctypes.ErrAuthFailed,
		rpctypes.ErrUserEmpty} {
		if errors.Is(err, denied) {
			return fault.New(fault.Denied, "store", "does not allow this to this host", fault.WithCause(err),
				fault.WithHint("the host may have been removed from the fleet; see fairlead fleet ls on a manager"))
		}
	}
	return fault.New(fault.Unavailable, "store", "cannot be reached",
		fault.WithHint("traffic and running containers are not affected; see fairlead fleet inspect"),
		fault.WithCause(err))
}
