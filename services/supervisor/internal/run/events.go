package run

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// emit emits a container event. more lists additional attributes as name, value pairs.
func (r *Runner) emit(c *container.Container, action string, more ...string) {
	attributes := maps.Clone(c.Process.Labels)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["name"], attributes["image"] = c.Config.Name, c.Config.Image
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	r.Events.Emit(events.Container, action, c.ID, attributes)
}

// emitNetworkEvents emits a connect or disconnect event for each network of the endpoints.
func (r *Runner) emitNetworkEvents(action, uid string, endpoints []container.Endpoint) {
	for _, e := range endpoints {
		r.Events.Emit(events.Network, action, e.NetworkID,
			map[string]string{"container": uid, "name": e.NetworkName, "type": e.Driver})
	}
}

// emitNetworkChanges emits the disconnect and connect events for a change of endpoints.
func (r *Runner) emitNetworkChanges(uid string, before, after []container.Endpoint) {
	r.emitNetworkEvents("disconnect", uid, subtract(before, after))
	r.emitNetworkEvents("connect", uid, subtract(after, before))
}

func subtract(all, some []container.Endpoint) (out []container.Endpoint) {
	in := map[string]bool{}
	for _, e := range some {
		in[e.NetworkID] = true
	}
	for _, e := range all {
		if !in[e.NetworkID] {
			out = append(out, e)
		}
	}
	return out
}

// emitLaunched emits the events of a successful launch, in Docker's order. A failed launch has no
// events.
func (l *launch) emitLaunched() {
	if l.initial == container.Launching {
		l.r.emit(l.c, "create")
	}
	l.r.emitNetworkEvents("connect", l.id, l.live.Endpoints)
	l.r.emit(l.c, "start")
}

// emitSignal emits the event of a signal to a process.
func (r *Runner) emitSignal(uid string, sig syscall.Signal) {
	if c, err := r.Store.GetContainer(uid); err == nil {
		r.emit(c, "kill", "signal", strconv.Itoa(int(sig)))
	}
}

// emitExec emits Docker's events of an exec process. It returns a channel that is closed after the
// exit event.
func (r *Runner) emitExec(c *container.Container, args []string, session Session) <-chan struct{} {
	line, uid := strings.Join(args, " "), id.New()
	r.emit(c, "exec_create: "+line, "execID", uid)
	r.emit(c, "exec_start: "+line, "execID", uid)
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		attributes := []string{"execID", uid}
		if code, err := session.Wait(context.Background()); err == nil { // otherwise the exit status is unknown
			attributes = append(attributes, "exitCode", strconv.Itoa(code))
		}
		if now, err := r.Store.GetContainer(c.ID); err == nil { // it may have been renamed
			c = now
		}
		r.emit(c, "exec_die", attributes...)
	}()

	return emitted
}

// emitExited emits the events of the end of a run, in Docker's order.
func (r *Runner) emitExited(c *container.Container, l *lifecycle, exit container.Exit) {
	if c.Live != nil {
		r.emitNetworkEvents("disconnect", c.ID, c.Live.Endpoints)
	}
	if l.stopped.Load() {
		r.emit(c, "stop")
	}
	if exit.OOM {
		r.emit(c, "oom")
	}
	took := exit.At.Sub(c.StartedAt).Truncate(time.Second)
	r.emit(c, "die", "exitCode", strconv.Itoa(exit.Code), "execDuration", strconv.Itoa(int(max(took, 0).Seconds())))
}
