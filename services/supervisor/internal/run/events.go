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

// emit tells of something that has happened to a container; more are further attributes, names and values by turns.
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

// emitNetworkEvents tells that a container has come onto networks, or has left them.
func (r *Runner) emitNetworkEvents(action, uid string, endpoints []container.Endpoint) {
	for _, e := range endpoints {
		r.Events.Emit(events.Network, action, e.NetworkID, map[string]string{"container": uid, "name": e.NetworkName, "type": e.Driver})
	}
}

// tellChanged tells which networks a container has left, and which it has come onto.
func (r *Runner) tellChanged(uid string, before, after []container.Endpoint) {
	r.emitNetworkEvents("disconnect", uid, without(before, after))
	r.emitNetworkEvents("connect", uid, without(after, before))
}

func without(all, some []container.Endpoint) (out []container.Endpoint) {
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

// tellLaunched tells of a launch that has succeeded, in Docker's order. One that fails leaves nothing to tell of.
func (l *launch) tellLaunched() {
	if l.initial == container.Launching {
		l.r.emit(l.c, "create")
	}
	l.r.emitNetworkEvents("connect", l.id, l.live.Endpoints)
	l.r.emit(l.c, "start")
}

// tellSignal tells that a process gets a signal.
func (r *Runner) tellSignal(uid string, sig syscall.Signal) {
	if c, err := r.Store.GetContainer(uid); err == nil {
		r.emit(c, "kill", "signal", strconv.Itoa(int(sig)))
	}
}

// tellExec tells of one more process, in Docker's words, and of its end; then the channel is closed. One that cannot be started is not
// told of.
func (r *Runner) tellExec(c *container.Container, args []string, session Session) <-chan struct{} {
	line, uid := strings.Join(args, " "), id.New()
	r.emit(c, "exec_create: "+line, "execID", uid)
	r.emit(c, "exec_start: "+line, "execID", uid)
	told := make(chan struct{})
	go func() {
		defer close(told)
		attributes := []string{"execID", uid}
		if code, err := session.Wait(context.Background()); err == nil { // else nobody saw how it ended
			attributes = append(attributes, "exitCode", strconv.Itoa(code))
		}
		if now, err := r.Store.GetContainer(c.ID); err == nil { // it may have another name
			c = now
		}
		r.emit(c, "exec_die", attributes...)
	}()
	return told
}

// tellEnded tells of the end of a run, in Docker's order.
func (r *Runner) tellEnded(c *container.Container, l *lifecycle, exit container.Exit) {
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
