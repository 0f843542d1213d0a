package container

import "time"

// Goal is the state that a stop, restart or removal results in.
type Goal string

// Goals.
const (
	GoalStopped   Goal = "stopped"
	GoalRestarted Goal = "restarted"
	GoalRemoved   Goal = "removed"
)

// Ending is a stored stop, restart or removal request.
// A restarted supervisor completes the request.
type Ending struct {
	Goal   Goal
	Signal string    `json:",omitempty"` // the stop signal; empty means SIGKILL
	KillAt time.Time // time of SIGKILL
}

// Wanted returns a copy with a stored request. A removal is never replaced by another goal.
func (c *Container) Wanted(e Ending) *Container {
	if c.Ending != nil && c.Ending.Goal == GoalRemoved {
		return c
	}
	n := *c
	n.Ending = &e
	return &n
}

// Unwanted returns a copy without a stored request.
func (c *Container) Unwanted() *Container {
	n := *c
	n.Ending = nil
	return &n
}

// Left returns the time until SIGKILL, at most atMost, since the wall clock may have been set.
func (e *Ending) Left(now time.Time, atMost time.Duration) time.Duration {
	return max(0, min(e.KillAt.Sub(now), atMost))
}
