package launch

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// resolveNamespaces replaces the containers whose PID and IPC namespaces are joined by their IDs.
func (l *launch) resolveNamespaces() error {
	n := &l.req.Config.Namespaces
	for _, mode := range []*string{&n.PID, &n.IPC} {
		ref, ok := container.Joins(*mode)
		if !ok {
			continue
		}
		c, err := l.r.Store.FindContainer(ref)
		if err != nil {
			return err
		}
		*mode = container.JoinMode(c.ID)
	}
	return nil
}

// checkNamespaces returns a fault if a namespace to be joined does not exist.
func (l *launch) checkNamespaces() error {
	if l.initial == container.Created {
		return nil // checked at the start
	}
	return l.joinNamespaces(&spec.Options{})
}

// joinNamespaces sets the namespaces of other containers, and the /dev/shm.
func (l *launch) joinNamespaces(o *spec.Options) error {
	o.Namespaces = l.req.Config.Namespaces
	if ref, ok := o.Namespaces.JoinedPID(); ok {
		c, err := l.running(ref, "PID")
		if err != nil {
			return err
		}
		o.PIDNamespace = fmt.Sprintf("/proc/%d/ns/pid", c.Live.PID)
	}

	switch ref, joined := o.Namespaces.JoinedIPC(); {
	case joined:
		c, err := l.running(ref, "IPC")
		if err != nil {
			return err
		}
		o.IPCNamespace = fmt.Sprintf("/proc/%d/ns/ipc", c.Live.PID)
		o.SharedMemory, err = l.r.sharedMemoryOf(c)
		return err
	case l.isShareable():
		o.SharedMemory = l.r.sharedMemory(l.id)
	case o.Namespaces.IPC == container.HostNamespace:
		o.SharedMemory = hostSharedMemory
	}
	return nil
}

// hostSharedMemory is the shared memory of the host.
const hostSharedMemory = "/dev/shm"

// sharedMemoryOf returns the /dev/shm on the host of a container whose IPC namespace is joined.
func (r *Launcher) sharedMemoryOf(c *container.Container) (string, error) {
	for range maxJoins {
		ref, joined := c.Config.Namespaces.JoinedIPC()
		switch {
		case c.Config.Namespaces.IPC == container.IPCShareable:
			return r.sharedMemory(c.ID), nil
		case c.Config.Namespaces.IPC == container.HostNamespace:
			return hostSharedMemory, nil
		case !joined:
			return "", fault.New(fault.Invalid, c.Subject(),
				"non-shareable IPC (hint: use IpcMode:shareable for the donor container)", fault.WithField("ipc"),
				fault.WithHint("run it with --ipc shareable"))
		}
		next, err := r.Store.GetContainer(ref)
		if err != nil {
			return "", err
		}
		c = next
	}
	return "", fault.Invalidf(c.Subject(), "ipc", "the chain of joined IPC namespaces is too long")
}

// maxJoins bounds a chain of containers that join each other's IPC namespaces.
const maxJoins = 16

// running returns the running container whose namespace is joined.
func (l *launch) running(uid, what string) (*container.Container, error) {
	c, err := l.r.Store.GetContainer(uid)
	if err != nil {
		return nil, err
	}
	if !c.IsRunning() || c.Live == nil {
		return nil, fault.New(fault.Busy, container.Subject(l.req.Config.Name),
			fmt.Sprintf("cannot join %s namespace of a non running container: container %s is %s", what,
				c.Config.Name, c.Status), fault.WithHint("start container %s first", id.Short(c.ID)))
	}
	return c, nil
}
