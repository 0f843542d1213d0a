package launch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// Waiters holds the clients that attached to a container before its start. A client is added with
// the container's lock held, so that a launch sees it or is over. The zero value is ready to use.
type Waiters struct {
	mu   sync.Mutex
	byID map[string][]*Waiter
}

// Waiter is a client that waits for the start of a container.
type Waiter struct {
	result chan waited
	output Output // opened by the launch
	err    error  // instead of the output
}

type waited struct {
	launched *Launched
	err      error
}

// Add adds a client.
func (w *Waiters) Add(uid string) *Waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = map[string][]*Waiter{}
	}
	n := &Waiter{result: make(chan waited, 1)}
	w.byID[uid] = append(w.byID[uid], n)
	return n
}

// Remove removes a client that does not wait any more, and closes what it did not receive.
func (w *Waiters) Remove(uid string, gone *Waiter) {
	w.mu.Lock()
	w.byID[uid] = slices.DeleteFunc(w.byID[uid], func(n *Waiter) bool { return n == gone })
	if len(w.byID[uid]) == 0 {
		delete(w.byID, uid)
	}
	w.mu.Unlock()
	select {
	case r := <-gone.result:
		if r.launched != nil {
			_ = r.launched.Output.Close()
		}
	default:
	}
}

// take removes and returns the clients of a container.
func (w *Waiters) take(uid string) []*Waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.byID[uid]
	delete(w.byID, uid)
	return all
}

// Wait waits for the start, and returns the connection to the streams.
func (n *Waiter) Wait(ctx context.Context, removed <-chan struct{}) (*Launched, error) {
	select {
	case r := <-n.result:
		return r.launched, r.err
	case <-removed:
		return nil, errRemoved
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errRemoved reports that a container was removed before its start.
var errRemoved = errors.New("the container was removed before it was started")

// attachWaiters connects the waiting clients to the process before it starts. A client that cannot be
// connected gets the error; it does not prevent the start.
func (l *launch) attachWaiters() saga.Step {
	after := []string{createProcess}
	if l.req.Attach { // the client that starts the container is the first
		after = append(after, attachOutput)
	}
	return saga.Step{
		Name: attachWaiting, After: after,
		Do: func(ctx context.Context) error {
			for _, n := range l.waiters {
				if n.output, n.err = l.r.Processes.Attach(ctx, l.id); n.err != nil {
					n.output = nil
				}
			}
			return ctx.Err()
		},
		Undo: func(context.Context) error {
			var errs []error
			for _, n := range l.waiters {
				if n.output != nil {
					errs = append(errs, n.output.Close())
				}
			}
			return errors.Join(errs...)
		},
	}
}

// answerWaiters reports the result of the launch to the waiting clients.
func (l *launch) answerWaiters(run *lives.Run, err error) {
	for _, n := range l.waiters {
		if failed := cmp.Or(err, n.err); failed != nil {
			n.result <- waited{err: failed}
			continue
		}
		n.result <- waited{launched: &Launched{Container: l.c, Output: n.output, Run: run}}
	}
}
