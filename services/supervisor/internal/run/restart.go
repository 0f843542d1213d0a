package run

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Retries of the start in a restart. The container ran before, so a temporary failure, such as that
// of a service that is just being restarted, must not leave it stopped.
const (
	startAttempts   = 6
	startRetryMin   = 100 * time.Millisecond
	startRetryLimit = 5 * time.Second // the client waits for retries that begin earlier than this

	// restartRetryTime bounds the retries of a restart while other services are unavailable.
	restartRetryTime = 2 * time.Minute
)

// Restart stops a running container and starts it. It is completed like Stop. What would make the
// start fail is checked before the container is stopped, as far as possible.
func (r *Runner) Restart(ctx context.Context, ref string, timeout *time.Duration,
	signal string) (*launch.Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}

	e, grace, err := ending(c, container.GoalRestarted, timeout, signal)
	if err != nil {
		return nil, err
	}

	if err := newRestarter(r).startable(c); err != nil {
		return nil, err
	}

	launched := make(chan *launch.Launched, 1)
	err = r.runDetached(ctx, func(ctx context.Context) error {
		if err := r.storeRequest(c.ID, e); err != nil {
			return err
		}
		l, err := newRestarter(r).restart(ctx, c, e, grace)
		launched <- l
		return newRestarter(r).completeLater(c, e, err)
	})

	if err != nil {
		return nil, err
	}

	return <-launched, nil
}

// restarter has the parts of a restart, which continues after a crash or a failure.
type restarter struct{ *Runner }

func newRestarter(r *Runner) restarter { return restarter{r} }

// completeLater continues a restart in the background if it failed because of an unavailable
// service, and drops the request after other errors. It returns err with what happens.
func (r restarter) completeLater(c *container.Container, e container.Ending, err error) error {
	if err == nil || !follow.IsTemporary(err) || !r.isRestarting(c.ID) || r.lives.Of(c.ID) != nil {
		return r.dropFailedRequest(c.ID, err)
	}

	go func() {
		if err := r.retryRestart(r.running, c, e, 0); err != nil && r.running.Err() == nil {
			r.logFor(c.ID).Warn("restart not completed, container is stopped", "name", c.Config.Name, "error", err)
		}
	}()

	return fault.New(fault.KindOf(err), c.Subject(),
		fmt.Sprintf("is stopped; its start is retried for %s", restartRetryTime), fault.WithCause(err))
}

// retryRestart completes a restart, retrying while other services are unavailable.
func (r restarter) retryRestart(ctx context.Context, c *container.Container, e container.Ending,
	left time.Duration) error {
	for deadline := time.Now().Add(restartRetryTime); r.isRestarting(c.ID); pause(ctx, time.Second) {
		_, err := r.restart(ctx, c, e, left)
		if err == nil || !follow.IsTemporary(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return r.dropFailedRequest(c.ID, err)
		}
	}

	return nil
}

// startable checks what a start checks before its first step.
func (r restarter) startable(c *container.Container) error {
	if _, err := r.Images.Resolve(c.ImageID, ""); err != nil {
		return err
	}
	return r.launcher.Check(c)
}

func (r restarter) restart(ctx context.Context, c *container.Container, e container.Ending,
	grace time.Duration) (*launch.Launched, error) {
	var left error
	l := r.lives.Of(c.ID)
	if l != nil {
		if left = r.stop(ctx, c, l, e, grace); left != nil && !lives.IsOver(l.Ended) {
			return nil, left
		}
	}

	if _, err := r.policies.cancel(ctx, c.ID, false); err != nil {
		return nil, err
	}

	launched, err := r.startAgain(ctx, c.ID, left != nil)
	if err != nil {
		return nil, err
	}

	r.notices.Emit(launched.Container, "restart")
	return launched, nil
}

// startAgain starts a container and retries temporary failures. remains means that the end of the
// last run left resources, which are released first.
func (r restarter) startAgain(ctx context.Context, uid string, remains bool) (*launch.Launched, error) {
	began := time.Now()
	for attempt, wait := 1, startRetryMin; ; attempt, wait = attempt+1, 2*wait {
		launched, err := r.startClean(ctx, uid, &remains)
		if err == nil || !canRetryStart(err) || attempt == startAttempts || time.Since(began) > startRetryLimit {
			return launched, err
		}

		r.logFor(uid).Warn("start failed, retrying", "attempt", attempt, "error", err)
		pause(ctx, wait)
		if c, gerr := r.Store.GetContainer(uid); gerr == nil && c.IsRunning() {
			return &launch.Launched{Container: c}, nil // another client started it
		}
		if ctx.Err() != nil || !r.isRestarting(uid) {
			return nil, err
		}
	}
}

// isRestarting reports whether the request to restart a container is stored, and neither completed
// nor withdrawn by a stop.
func (r restarter) isRestarting(uid string) bool {
	c, err := r.Store.GetContainer(uid)
	return err == nil && c.Ending != nil && c.Ending.Goal == container.GoalRestarted
}

// startClean releases what the last run left, and starts the container.
func (r restarter) startClean(ctx context.Context, uid string, remains *bool) (*launch.Launched, error) {
	if *remains {
		if err := newConclusion(r.Runner).tryConclude(ctx, uid, concluded()); err != nil {
			return nil, err
		}
		*remains = false
	}
	return r.Start(ctx, uid, false, 0, 0)
}

// canRetryStart reports whether a start that failed with err can succeed without a change by the
// user. Errors of the kernel can be temporary, too.
func canRetryStart(err error) bool {
	return follow.IsTemporary(err) || fault.Is(err, fault.Internal) && fault.ReasonOf(err) == ""
}
