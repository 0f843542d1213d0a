// Package restart decides whether and when a container whose process has exited is started again.
// It performs no I/O and reads no clock. Package run calls it.
package restart

import (
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Delays before a restart, as in Docker.
const (
	MinDelay = 100 * time.Millisecond
	MaxDelay = time.Minute

	// steady is the running time that resets the delay.
	steady = 10 * time.Second
)

// Exit describes the end of a run.
type Exit struct {
	Code int
	Ran  time.Duration // from start to exit
}

// Next returns the delay before the next restart of a container. ok is false if it is not restarted.
// count is the number of restarts since a user started it, and last the delay of the latest one.
func Next(p container.RestartPolicy, count int, last time.Duration, exit Exit) (delay time.Duration, ok bool) {
	switch p.Name {
	case container.RestartAlways, container.RestartUnlessStopped:
	case container.RestartOnFailure:
		if exit.Code == 0 || p.MaximumRetryCount > 0 && count >= p.MaximumRetryCount {
			return 0, false
		}
	default:
		return 0, false
	}

	if exit.Ran >= steady || last == 0 {
		return MinDelay, true
	}
	return min(2*last, MaxDelay), true
}
