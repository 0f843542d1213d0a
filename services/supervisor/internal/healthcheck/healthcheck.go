// Package healthcheck defines health checks of containers, their merge with the image's, and the
// health that results from checks. It performs no I/O and reads no clock. Package container stores
// checks and health; package health runs the checks.
package healthcheck

import (
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Health checks: the first word of a test, and defaults as in Docker.
const (
	testNone  = "NONE"
	testCmd   = "CMD"
	testShell = "CMD-SHELL"

	defaultHealthInterval      = 30 * time.Second
	defaultHealthTimeout       = 30 * time.Second
	defaultHealthStartInterval = 5 * time.Second
	defaultHealthRetries       = 3

	// healthResults is the number of results that are kept.
	healthResults = 5
)

// Check defines how a running container is tested. Zero fields mean those of the image, or
// else the default.
type Check struct {
	Test          []string      `json:",omitempty"` // NONE, CMD and arguments, or CMD-SHELL and a command line
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"` // failures do not count after the start
	StartInterval time.Duration `json:",omitempty"` // interval in the start period
	Retries       int           `json:",omitempty"` // consecutive failures that make a container unhealthy

	Args []string `json:",omitempty"` // of the check, in the check in effect
}

// Statuses.
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// Health is the state of a health check.
type Health struct {
	Status        string
	FailingStreak int
	Log           []Result // the last ones, oldest first
}

// Result is the result of one check.
type Result struct {
	Start, End time.Time
	ExitCode   int // 0 is success, -1 a check that was killed or not started
	Output     string
}

// Validate checks the health check that a user requests. nil is valid.
func (h *Check) Validate(subject string) error {
	if h == nil {
		return nil
	}

	for _, d := range []struct {
		field string
		value time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod},
		{"StartInterval", h.StartInterval}} {
		if d.value != 0 && d.value < time.Millisecond {
			return fault.Invalidf(subject, "health", "%s in Healthcheck cannot be less than 1ms", d.field)
		}
	}

	if h.Retries < 0 {
		return fault.Invalidf(subject, "health", "Retries in Healthcheck cannot be negative")
	}

	return h.validateTest(subject)
}

func (h *Check) validateTest(subject string) error {
	if len(h.Test) == 0 {
		return nil
	}

	switch h.Test[0] {
	case testNone:
		if len(h.Test) == 1 {
			return nil
		}
	case testCmd:
		if len(h.Test) > 1 {
			return noNUL(subject, h.Test)
		}
	case testShell:
		if len(h.Test) == 2 && strings.TrimSpace(h.Test[1]) != "" {
			return noNUL(subject, h.Test)
		}
	default:
		return fault.Invalidf(subject, "health", "Unknown healthcheck type %q (expected NONE, CMD or CMD-SHELL)",
			h.Test[0])
	}

	return fault.Invalidf(subject, "health", "healthcheck of type %s has no valid command", h.Test[0])
}

// Combine returns the health check of the image with what the user changes. It is zero without both.
func Combine(user, image *Check) Check {
	h := Check{}
	if image != nil {
		h = *image
	}

	if user != nil {
		if len(user.Test) > 0 {
			h.Test = user.Test
		}
		for _, d := range []struct{ to, from *time.Duration }{{&h.Interval, &user.Interval},
			{&h.Timeout, &user.Timeout}, {&h.StartPeriod, &user.StartPeriod}, {&h.StartInterval, &user.StartInterval}} {
			if *d.from != 0 {
				*d.to = *d.from
			}
		}
		if user.Retries != 0 {
			h.Retries = user.Retries
		}
	}

	return h
}

// Merge merges the health check of the user with the image's. shell runs command lines; empty means
// /bin/sh. It returns nil if there is no health check.
func Merge(user, image *Check, shell []string) *Check {
	h := Combine(user, image)
	if h.validateTest("") != nil || len(h.Test) == 0 || h.Test[0] == testNone {
		return nil // an image with an unknown type has no health check, as in Docker
	}

	h.Args = h.Test[1:]
	if h.Test[0] == testShell {
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		h.Args = slices.Concat(shell, h.Args)
	}

	return &h
}

// TimeoutOrDefault returns the time after which a check is killed.
func (h *Check) TimeoutOrDefault() time.Duration {
	return orDefault(h.Timeout, defaultHealthTimeout)
}

func orDefault(d, standard time.Duration) time.Duration {
	if d <= 0 {
		return standard
	}
	return d
}

// Wait returns the time until the next check of a container that has run for a time.
func (h *Check) Wait(now Health, ran time.Duration) time.Duration {
	if now.Status == Starting && ran < h.StartPeriod {
		return orDefault(h.StartInterval, defaultHealthStartInterval)
	}
	return orDefault(h.Interval, defaultHealthInterval)
}

// Next returns the health after a check that started when the container had run for a time.
func (h *Check) Next(before Health, r Result, ran time.Duration) Health {
	n := before
	n.Log = append(slices.Clone(before.Log[max(0, len(before.Log)+1-healthResults):]), r)
	switch {
	case r.ExitCode == 0:
		n.Status, n.FailingStreak = Healthy, 0
	case before.Status == Starting && ran < h.StartPeriod: // does not count
	default:
		retries := h.Retries
		if retries <= 0 {
			retries = defaultHealthRetries
		}
		if n.FailingStreak++; n.FailingStreak >= retries {
			n.Status = Unhealthy
		}
	}

	return n
}

// noNUL rejects arguments that cannot be passed to a process.
func noNUL(subject string, args []string) error {
	for _, a := range args {
		if strings.ContainsRune(a, 0) {
			return fault.Invalidf(subject, "health", "the healthcheck %q contains a NUL character", a)
		}
	}
	return nil
}
