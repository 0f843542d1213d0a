package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of an orderly stop.
const (
	callsLimit = 10 * time.Second // for calls that are under way
	runLimit   = 10 * time.Second // for services to come to an end
)

// run runs the services and answers calls until ctx ends or something fails; then it stops everything, those who ask others first.
func (a *agent) run(ctx context.Context, notifier process.Notifier) error {
	running, halt := context.WithCancel(context.WithoutCancel(ctx))
	defer halt()
	w := &runGroup{ended: make(chan error), stopping: running.Done()}
	a.start(running, w, func() {
		a.config.enableReload(w)
		w.runs.Go(func() { a.config.reloadOnSignal(running) })
		a.ready(ctx, notifier)
	})
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-w.ended:
		a.log.Error("stopping", "error", cause)
	}
	a.logNotifyError(notifier.Stopping(context.WithoutCancel(ctx)))
	return errors.Join(cause, a.stop(context.WithoutCancel(ctx), w, halt))
}

// runGroup is what goes on beside the calls.
type runGroup struct {
	runs     sync.WaitGroup
	ended    chan error      // what ended before it was told to
	stopping <-chan struct{} // closed when everything was told to
}

// end reports that something ended by itself. After the halt nobody asks.
func (w *runGroup) end(err error) {
	select {
	case w.ended <- err:
	case <-w.stopping:
	}
}

// start runs every service and serves every socket. allReady is called when the last service is ready.
func (a *agent) start(ctx context.Context, w *runGroup, allReady func()) {
	var waiting atomic.Int64
	waiting.Store(int64(len(a.members)))
	for _, m := range a.members {
		m.socket.serve(a.log, w, m.socket.listeners)
		ready := sync.OnceFunc(func() {
			m.socket.server.Ready()
			if waiting.Add(-1) == 0 {
				allReady()
			}
		})
		w.runs.Go(func() {
			err := m.service.Run(ctx, ready)
			switch {
			case ctx.Err() == nil && err == nil:
				err = fault.New(fault.Internal, "service "+m.Name, "ended by itself")
			case ctx.Err() != nil && err != nil && !errors.Is(err, context.Canceled):
				a.log.Error("service ended badly", "service", m.Name, "error", err)
			}
			w.end(err)
		})
	}
	if a.public != nil {
		a.public.serve(a.log, w, a.public.listeners)
	}
}

// ready is when the whole agent can be used.
func (a *agent) ready(ctx context.Context, notifier process.Notifier) {
	if a.public != nil {
		a.public.server.Ready()
	}
	a.log.Info("ready")
	a.logNotifyError(notifier.Ready(ctx))
}

// logNotifyError logs that the service manager could not be told, which changes nothing for anybody else.
func (a *agent) logNotifyError(err error) {
	if err != nil {
		a.log.Warn("not told", "error", err)
	}
}

// stop ends the public calls, then the services' own work, then the calls between services.
func (a *agent) stop(ctx context.Context, w *runGroup, halt func()) error {
	ctx, cancel := context.WithTimeout(ctx, callsLimit)
	defer cancel()
	if a.public != nil {
		a.public.server.Stop(ctx)
	}
	halt()
	over := make(chan struct{})
	go func() {
		w.runs.Wait()
		close(over)
	}()
	var late error
	select {
	case <-over:
	case <-time.After(runLimit):
		late = fault.New(fault.Internal, "agent", "a service did not stop in "+runLimit.String())
	}
	var servers sync.WaitGroup
	for _, m := range a.members {
		servers.Go(func() { m.socket.server.Stop(ctx) })
	}
	servers.Wait()
	a.log.Info("stopped")
	return late
}
