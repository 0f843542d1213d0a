package traffic

import (
	"context"
	"time"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

const (
	// maxAge is the age at which the directory is read again.
	maxAge = time.Second
	// startTime is the time after its first connection in which a container that starts is listed.
	startTime = 200 * time.Millisecond
)

// follower keeps the directory of a command that follows connections up to date.
type follower struct {
	read  func(context.Context) (*directory, error)
	now   func() time.Time
	sleep func(context.Context, time.Duration)

	dir    *directory
	readAt time.Time
}

// directory returns the directory for an event that was received at a time. An unknown address can be
// that of a container that is just starting: the directory is read again after it is listed. Many such
// events are found in one reading.
func (f *follower) directory(ctx context.Context, c *natv1.Connection, received time.Time) *directory {
	if f.now().Sub(f.readAt) > maxAge {
		f.refresh(ctx)
	}
	listed := received.Add(startTime)
	if f.dir.knows(c) || !f.readAt.Before(listed) {
		return f.dir
	}
	f.sleep(ctx, listed.Sub(f.now()))
	f.refresh(ctx)
	return f.dir
}

// refresh reads the directory again. With an error the present one stays.
func (f *follower) refresh(ctx context.Context) {
	f.readAt = f.now()
	if fresh, err := f.read(ctx); err == nil {
		fresh.keep(f.dir)
		f.dir = fresh
	}
}

// sleep waits for a time or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
