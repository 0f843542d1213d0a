// Package state translates the state of a container to Docker's words. It performs no I/O.
package state

import (
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/dockertext"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

var words = map[containerv1.ContainerStatus]container.ContainerState{
	containerv1.ContainerStatus_CONTAINER_STATUS_CREATED:    container.StateCreated,
	containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:    container.StateRunning,
	containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED:     container.StatePaused,
	containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING: container.StateRestarting,
	containerv1.ContainerStatus_CONTAINER_STATUS_EXITED:     container.StateExited,
	containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING:   container.StateRemoving,
	containerv1.ContainerStatus_CONTAINER_STATUS_DEAD:       container.StateDead,
}

// Word returns Docker's word for the status of a container.
func Word(c *containerv1.Container) container.ContainerState { return words[c.GetStatus()] }

// HasProcess reports whether the process of a container exists. It can be paused.
func HasProcess(c *containerv1.Container) bool {
	return Word(c) == container.StateRunning || Word(c) == container.StatePaused
}

// Running reports whether a container is running in Docker's sense: its process exists, or is started
// again by the restart policy.
func Running(c *containerv1.Container) bool {
	return HasProcess(c) || Word(c) == container.StateRestarting
}

// Health returns the result of the health checks. It is "none" without one.
func Health(c *containerv1.Container) container.HealthStatus {
	switch c.GetHealth().GetStatus() {
	case containerv1.HealthStatus_HEALTH_STATUS_STARTING:
		return container.Starting
	case containerv1.HealthStatus_HEALTH_STATUS_HEALTHY:
		return container.Healthy
	case containerv1.HealthStatus_HEALTH_STATUS_UNHEALTHY:
		return container.Unhealthy
	}
	return container.NoHealthcheck
}

// FromProto returns the state of a container.
func FromProto(c *containerv1.Container) *container.State {
	word := Word(c)
	out := &container.State{Status: word, Running: Running(c), Paused: word == container.StatePaused,
		Restarting: word == container.StateRestarting, Dead: word == container.StateDead, OOMKilled: c.GetOomKilled(),
		Pid: int(c.GetPid()), ExitCode: int(c.GetExitCode()), Error: c.GetError(), StartedAt: Time(c.GetStartedAt()),
		FinishedAt: Time(c.GetFinishedAt())}
	if Health(c) == container.NoHealthcheck {
		return out
	}
	out.Health = &container.Health{Status: Health(c), FailingStreak: int(c.GetHealth().GetFailingStreak()),
		Log: []*container.HealthcheckResult{}}
	for _, r := range c.GetHealth().GetLog() {
		out.Health.Log = append(out.Health.Log, &container.HealthcheckResult{Start: r.GetStart().AsTime(),
			End: r.GetEnd().AsTime(), ExitCode: int(r.GetExitCode()), Output: r.GetOutput()})
	}
	return out
}

// Time formats a time as Docker does; nil is the zero time.
func Time(t *timestamppb.Timestamp) string {
	if t == nil {
		return time.Time{}.Format(time.RFC3339Nano)
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

// Line returns the state in a sentence, as in the list of containers.
func Line(c *containerv1.Container, now time.Time) string {
	since := func(t *timestamppb.Timestamp) string { return dockertext.Duration(now.Sub(t.AsTime())) }
	switch Word(c) {
	case container.StateRunning:
		return "Up " + since(c.GetStartedAt()) + healthText(c)
	case container.StatePaused:
		return "Up " + since(c.GetStartedAt()) + " (Paused)"
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", c.GetExitCode(), since(c.GetFinishedAt()))
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", c.GetExitCode(), since(c.GetFinishedAt()))
	case container.StateDead:
		return "Dead"
	case container.StateRemoving:
		return "Removal In Progress"
	}
	return "Created"
}

func healthText(c *containerv1.Container) string {
	switch h := Health(c); h {
	case container.NoHealthcheck:
		return ""
	case container.Starting:
		return " (health: starting)"
	default:
		return " (" + string(h) + ")"
	}
}
