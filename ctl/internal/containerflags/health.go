package containerflags

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Health holds the flags of the health check.
type Health struct {
	command                                       string
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
	none                                          bool
}

// Add adds the flags to a flag set.
func (h *Health) Add(f *pflag.FlagSet) {
	f.StringVar(&h.command, "health-cmd", "", "Command that checks health, run by a shell")
	f.DurationVar(&h.interval, "health-interval", 0, "Time between checks (default: the image's, or 30s)")
	f.DurationVar(&h.timeout, "health-timeout", 0, "Time after which a check is killed (default: the image's, or 30s)")
	f.DurationVar(&h.startPeriod, "health-start-period", 0, "Time after the start in which failures do not count")
	f.DurationVar(&h.startInterval, "health-start-interval", 0, "Time between checks in the start period")
	f.IntVar(&h.retries, "health-retries", 0, "Failures that make it unhealthy (default: the image's, or 3)")
	f.BoolVar(&h.none, "no-healthcheck", false, "Disable the image's health check")
}

// Value returns the health check of the flags, nil without any.
func (h *Health) Value() (*containerv1.HealthCheck, error) {
	given := h.command != "" || h.interval != 0 || h.timeout != 0 || h.startPeriod != 0 || h.startInterval != 0 ||
		h.retries != 0
	switch {
	case h.none && given:
		return nil, errors.New("--no-healthcheck conflicts with --health-* options")
	case h.none:
		return &containerv1.HealthCheck{Test: []string{"NONE"}}, nil
	case !given:
		return nil, nil
	}

	for name, d := range map[string]time.Duration{"health-interval": h.interval, "health-timeout": h.timeout,
		"health-start-period": h.startPeriod, "health-start-interval": h.startInterval} {
		if d < 0 {
			return nil, fault.Invalidf("--"+name, name, "--%s cannot be negative", name)
		}
	}

	if h.retries < 0 {
		return nil, fault.Invalidf("--health-retries", "health-retries", "--health-retries cannot be negative")
	}

	out := &containerv1.HealthCheck{Interval: duration(h.interval), Timeout: duration(h.timeout),
		StartPeriod: duration(h.startPeriod), StartInterval: duration(h.startInterval),
		Retries: uint32(min(h.retries, 1<<31-1))}
	if h.command != "" {
		out.Test = []string{"CMD-SHELL", h.command}
	}

	return out, nil
}

// duration converts a duration; zero becomes nil.
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
