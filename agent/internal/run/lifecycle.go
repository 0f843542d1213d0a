package run

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/proto/fault"
)

// Time limits of an orderly stop.
const (
	callsLimit = 10 * time.Second // for calls in progress
	runLimit   = 10 * time.Second // for services to stop
)

// run runs the services and serves calls until ctx ends or something fails. Then it stops
// everything, dependent services first.
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

// runGroup holds the goroutines of the agent.
type runGroup struct {
	runs     sync.WaitGroup
	ended    chan error      // errors of what exited unexpectedly
	stopping <-chan struct{} // closed when everything is to stop
}

// end reports that something exited unexpectedly. After the halt it does nothing.
func (w *runGroup) end(err error) {
	select {
	case w.ended <- err:
	case <-w.stopping:
	}
}

// start runs every service and serves every socket. allReady is called when the last service is
// ready.
func (a *agent) start(ctx context.Context, w *runGroup, allReady func()) {
	var waiting atomic.Int64
	waiting.Store(int64(len(a.members)))
	for _, m := range a.members {
		m.socket.serve(a.log, w, m.socket.listeners)
		if m.http != nil {
			m.http.serve(a.log, w, m.http.listeners)
		}
		ready := sync.OnceFunc(func() {
			m.grpc.Ready()
			if waiting.Add(-1) == 0 {
				allReady()
			}
		})
		w.runs.Go(func() {
			err := m.service.Run(a.tracer.With(ctx), ready)
			switch {
			case ctx.Err() == nil && err == nil:
				err = fault.New(fault.Internal, "service "+m.Name, "exited unexpectedly")
			case ctx.Err() != nil && err != nil && !errors.Is(err, context.Canceled):
				a.log.Error("service failed", "service", m.Name, "error", err)
			}
			w.end(err)
		})
	}
	if a.public != nil {
		a.public.serve(a.log, w, a.public.listeners)
	}
	if a.metrics != nil {
		a.metrics.serve(a.log, w, a.metrics.listeners)
	}
}

// ready reports that the whole agent is ready.
func (a *agent) ready(ctx context.Context, notifier process.Notifier) {
	if a.public != nil {
		a.publicGRPC.Ready()
	}
	a.log.Info("ready")
	a.logNotifyError(notifier.Ready(ctx))
}

// logNotifyError logs a failed notification of the service manager, which has no other effect.
func (a *agent) logNotifyError(err error) {
	if err != nil {
		a.log.Warn("sd_notify failed", "error", err)
	}
}

// stop ends the public calls, then the services, then the calls between services.
func (a *agent) stop(ctx context.Context, w *runGroup, halt func()) error {
	ctx, cancel := context.WithTimeout(ctx, callsLimit)
	defer cancel()
	if a.public != nil {
		a.public.server.Stop(ctx)
	}
	if a.metrics != nil {
		a.metrics.server.Stop(ctx)
	}
	for _, m := range a.members {
		if m.http != nil {
			m.http.server.Stop(ctx)
		}
	}
	halt()
	stopped := make(chan struct{})
	go func() {
		w.runs.Wait()
		close(stopped)
	}()
	var late error
	select {
	case <-stopped:
	case <-time.After(runLimit):
		late = fault.New(fault.Internal, "agent", "a service did not stop within "+runLimit.String())
	}
	var servers sync.WaitGroup
	for _, m := range a.members {
		servers.Go(func() { m.socket.server.Stop(ctx) })
	}
	servers.Wait()
	a.log.Info("stopped")
	return late
}
