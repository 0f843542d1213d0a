package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
)

// How long the lock of the members is held after its holder was lost.
const lockLife = 10 * time.Second

// Members returns the members of the store.
func (c *Client) Members(ctx context.Context) ([]quorum.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	list, err := c.c.MemberList(ctx)
	if err != nil {
		return nil, failed(err)
	}
	var leader uint64
	for _, url := range c.c.Endpoints() {
		if status, err := c.c.Status(ctx, url); err == nil {
			leader = status.Leader
			break
		}
	}

	var all []quorum.Member
	for _, m := range list.Members {
		member := quorum.Member{ID: m.ID, Name: m.Name, Learner: m.IsLearner, Started: m.Name != "",
			Leader: m.ID == leader}
		if len(m.PeerURLs) > 0 {
			member.PeerURL = m.PeerURLs[0]
		}
		all = append(all, member)
	}
	return all, nil
}

// AddLearner adds a member without a vote, which is started later.
func (c *Client) AddLearner(ctx context.Context, peerURL string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	_, err := c.c.MemberAddAsLearner(ctx, []string{peerURL})
	return memberFailed(err)
}

// PromoteMember makes a learner a voter. It fails if the learner has not caught up.
func (c *Client) PromoteMember(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	_, err := c.c.MemberPromote(ctx, id)
	return memberFailed(err)
}

// RemoveMember removes a member, whose process exits.
func (c *Client) RemoveMember(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	_, err := c.c.MemberRemove(ctx, id)
	if errors.Is(err, rpctypes.ErrMemberNotFound) {
		return nil
	}
	return memberFailed(err)
}

// memberFailed returns the fault of a change of the members. The store refuses one that is too early.
func memberFailed(err error) error {
	for _, early := range []error{rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrUnhealthy,
		rpctypes.ErrMemberNotEnoughStarted} {
		if errors.Is(err, early) {
			return fault.New(fault.Busy, "store", "its members cannot be changed yet", fault.WithCause(err))
		}
	}
	if err == nil {
		return nil
	}
	return failed(err)
}

// Locked calls do while this client has a lock that no other one has. It reports false if another one
// has it. The context of do ends when the lock is lost.
func (c *Client) Locked(ctx context.Context, key string, do func(ctx context.Context)) (bool, error) {
	session, err := concurrency.NewSession(c.c, concurrency.WithTTL(int(lockLife/time.Second)),
		concurrency.WithContext(ctx))
	if err != nil {
		return false, failed(err)
	}
	defer session.Close() // deletes the key of the lock
	limited, stop := context.WithTimeout(ctx, CallTimeout)
	defer stop()
	switch err := concurrency.NewMutex(session, key).TryLock(limited); {
	case errors.Is(err, concurrency.ErrLocked):
		return false, nil
	case err != nil:
		return false, failed(err)
	}

	held, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-session.Done():
			cancel()
		case <-held.Done():
		}
	}()
	do(held)
	return true, nil
}

// Empower lets a host do everything in the store.
func (c *Client) Empower(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	return c.addUser(ctx, host, rootName)
}

// Disempower takes the rights of a manager away; those of Admit stay.
func (c *Client) Disempower(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	_, err := c.c.UserRevokeRole(ctx, host, rootName)
	if err != nil && !errors.Is(err, rpctypes.ErrRoleNotGranted) && !errors.Is(err, rpctypes.ErrUserNotFound) {
		return failed(err)
	}
	return nil
}
