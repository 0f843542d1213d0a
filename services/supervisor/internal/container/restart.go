package container

import (
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Names of restart policies.
const (
	RestartNo            = "no"
	RestartOnFailure     = "on-failure"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
)

// RestartPolicy defines when a container whose process has exited is started again. The zero value
// means never.
type RestartPolicy struct {
	Name              string
	MaximumRetryCount int `json:",omitempty"` // with RestartOnFailure; 0 means no limit
}

// IsNone reports whether the container is never restarted.
func (p RestartPolicy) IsNone() bool { return p.Name == "" || p.Name == RestartNo }

// Validate checks the policy of a container.
func (p RestartPolicy) Validate(subject string, autoRemove bool) error {
	switch p.Name {
	case "", RestartNo, RestartAlways, RestartUnlessStopped:
		if p.MaximumRetryCount != 0 {
			return fault.Invalidf(subject, "restart",
				"invalid restart policy: maximum retry count can only be used with 'on-failure'")
		}
	case RestartOnFailure:
		if p.MaximumRetryCount < 0 {
			return fault.Invalidf(subject, "restart",
				"invalid restart policy: maximum retry count cannot be negative")
		}
	default:
		return fault.Invalidf(subject, "restart", "invalid restart policy: unknown policy '%s'; "+
			"use one of 'no', 'always', 'on-failure', or 'unless-stopped'", p.Name)
	}

	if autoRemove && !p.IsNone() {
		return fault.New(fault.Invalid, subject, "conflicting options: cannot specify both --restart and --rm",
			fault.WithField("restart"), fault.WithHint("omit one of them"))
	}

	return nil
}

// Restarts is the state of a container's restart policy. It is reset when a user starts the
// container.
type Restarts struct {
	Count int           `json:",omitempty"` // restarts by the policy
	Delay time.Duration `json:",omitempty"` // before the latest restart
	At    time.Time     `json:",omitzero"`  // time of the next restart, in status Restarting

	// Stopped records that a user stopped the container. It is then not restarted.
	Stopped bool `json:",omitempty"`
}

// Restarted returns a copy of an exited container that is started again after a delay.
func (c *Container) Restarted(delay time.Duration) *Container {
	n := *c
	n.Status, n.Restarts = Restarting, Restarts{Count: c.Restarts.Count + 1, Delay: delay, At: c.FinishedAt.Add(delay)}
	return &n
}

// NotRestarted returns a copy of a container that is not restarted any more. stopped means that a
// user stopped it.
func (c *Container) NotRestarted(stopped bool) *Container {
	n := *c
	n.Restarts.Stopped = n.Restarts.Stopped || stopped
	if c.Status == Restarting {
		n.Status, n.Restarts.At = Exited, time.Time{}
	}
	return &n
}

// IsActive reports whether the container runs, or is started again by its policy.
func (c *Container) IsActive() bool { return c.IsRunning() || c.Status == Restarting }

// Paused returns a copy whose processes are frozen, or not.
func (c *Container) Paused(paused bool) *Container {
	n, live := *c, *c.Live
	live.Paused, live.Committing = paused, false
	n.Live = &live
	return &n
}

// PausedForCommit returns a copy whose processes are frozen until a commit ends.
func (c *Container) PausedForCommit() *Container {
	n := c.Paused(true)
	n.Live.Committing = true
	return n
}

// IsPausedForCommit reports whether the processes are frozen until a commit ends.
func (c *Container) IsPausedForCommit() bool { return c.IsPaused() && c.Live.Committing }

// IsPaused reports whether the processes of the container are frozen.
func (c *Container) IsPaused() bool { return c.IsRunning() && c.Live != nil && c.Live.Paused }

// State returns Docker's word for the status of the container.
func (c *Container) State() string {
	switch {
	case c.IsPaused():
		return "paused"
	case c.Status == Removing && c.Dead:
		return "dead"
	case c.Status == Launching:
		return string(Created)
	}
	return string(c.Status)
}
