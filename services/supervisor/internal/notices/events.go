package notices

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Emit emits a container event. more lists additional attributes as name, value pairs.
func (n *Notices) Emit(c *container.Container, action string, more ...string) {
	attributes := maps.Clone(c.Process.Labels)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["name"], attributes["image"] = c.Config.Name, c.Config.Image
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	n.cfg.Events.Emit(events.Container, action, c.ID, attributes)
}

// Networks emits a connect or disconnect event for each network of the endpoints.
func (n *Notices) Networks(action, uid string, endpoints []container.Endpoint) {
	for _, e := range endpoints {
		n.cfg.Events.Emit(events.Network, action, e.NetworkID,
			map[string]string{"container": uid, "name": e.NetworkName, "type": e.Driver})
	}
}

// NetworkChanges emits the disconnect and connect events for a change of endpoints.
func (n *Notices) NetworkChanges(uid string, before, after []container.Endpoint) {
	n.Networks("disconnect", uid, subtract(before, after))
	n.Networks("connect", uid, subtract(after, before))
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

// Launched emits the events of a successful launch, in Docker's order. A failed launch has no
// events.
func (n *Notices) Launched(c *container.Container, created bool, endpoints []container.Endpoint) {
	if created {
		n.Emit(c, "create")
	}
	n.Networks("connect", c.ID, endpoints)
	n.Emit(c, "start")
}

// VolumeMounted emits the event of a volume that is mounted for a container.
func (n *Notices) VolumeMounted(uid string, m container.Mount) {
	n.volume("mount", uid, m, map[string]string{"destination": m.Target,
		"read/write": strconv.FormatBool(!m.ReadOnly), "propagation": m.Propagation})
}

func (n *Notices) volume(action, uid string, m container.Mount, attributes map[string]string) {
	attributes["driver"], attributes["container"] = volume.Local, uid
	n.cfg.Events.Emit(events.Volume, action, m.Source, attributes)
}

// Signal emits the event of a signal to a process.
func (n *Notices) Signal(uid string, sig syscall.Signal) {
	if c, err := n.cfg.Store.GetContainer(uid); err == nil {
		n.Emit(c, "kill", "signal", strconv.Itoa(int(sig)))
	}
}

// ExecCreated emits the event of a new exec process.
func (n *Notices) ExecCreated(c *container.Container, uid string, args []string) {
	n.Emit(c, "exec_create: "+strings.Join(args, " "), "execID", uid)
}

// ExecStarted emits the events of the start and the end of an exec process. It returns a channel
// that is closed after the exit event.
func (n *Notices) ExecStarted(c *container.Container, uid string, args []string,
	wait func(context.Context) (int, error)) <-chan struct{} {
	n.Emit(c, "exec_start: "+strings.Join(args, " "), "execID", uid)
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		attributes := []string{"execID", uid}
		if code, err := wait(context.Background()); err == nil { // otherwise the exit status is unknown
			attributes = append(attributes, "exitCode", strconv.Itoa(code))
		}
		if now, err := n.cfg.Store.GetContainer(c.ID); err == nil { // it may have been renamed
			c = now
		}
		n.Emit(c, "exec_die", attributes...)
	}()

	return emitted
}

// Exited emits the events of the end of a run, in Docker's order.
func (n *Notices) Exited(c *container.Container, stopped bool, exit container.Exit) {
	if c.Live != nil {
		n.Networks("disconnect", c.ID, c.Live.Endpoints)
	}
	for _, m := range c.Config.Mounts {
		if m.IsVolume() {
			n.volume("unmount", c.ID, m, map[string]string{})
		}
	}
	if stopped {
		n.Emit(c, "stop")
	}
	if exit.OOM {
		n.Emit(c, "oom")
	}
	took := exit.At.Sub(c.StartedAt).Truncate(time.Second)
	n.Emit(c, "die", "exitCode", strconv.Itoa(exit.Code), "execDuration", strconv.Itoa(int(max(took, 0).Seconds())))
}
