package container

import "time"

// Goal is the status that a stored request leads a container to when its process has ended.
type Goal string

// The goals.
const (
	GoalStopped   Goal = "stopped"
	GoalRestarted Goal = "restarted"
	GoalRemoved   Goal = "removed"
)

// Ending is a stored request to end a run, so that a supervisor that was killed meanwhile completes it when it is back.
type Ending struct {
	Goal   Goal
	Signal string    `json:",omitempty"` // the stop signal; empty means SIGKILL
	KillAt time.Time // when SIGKILL is due
}

// Wanted returns a copy with a request to end its run. A removal is never replaced by less.
func (c *Container) Wanted(e Ending) *Container {
	if c.Ending != nil && c.Ending.Goal == GoalRemoved {
		return c
	}
	n := *c
	n.Ending = &e
	return &n
}

// Unwanted returns a copy without a request to end its run.
func (c *Container) Unwanted() *Container {
	n := *c
	n.Ending = nil
	return &n
}

// Left is how long a container has until SIGKILL, at most its stop timeout: the wall clock may have been set.
func (e *Ending) Left(now time.Time, atMost time.Duration) time.Duration {
	return max(0, min(e.KillAt.Sub(now), atMost))
}
