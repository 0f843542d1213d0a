package resource

import (
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/proto/fault"
)

// ulimitNames lists the resources of setrlimit(2), in lower case and without RLIMIT_.
var ulimitNames = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack"}

func validateUlimits(subject string, limits []Ulimit) error {
	seen := map[string]bool{}
	for _, u := range limits {
		unlimited := func(n int64) bool { return n == -1 }
		switch {
		case !slices.Contains(ulimitNames, u.Name):
			return fault.Invalidf(subject, "ulimit", "invalid ulimit type: %s", u.Name)
		case seen[u.Name]:
			return fault.Invalidf(subject, "ulimit", "ulimit %s is set twice", u.Name)
		case u.Soft < -1 || u.Hard < -1:
			return fault.Invalidf(subject, "ulimit", "ulimit %s must be a number, or -1 for unlimited", u.Name)
		case unlimited(u.Soft) && !unlimited(u.Hard):
			return fault.Invalidf(subject, "ulimit",
				"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: %d", u.Hard)
		case !unlimited(u.Hard) && u.Soft > u.Hard:
			return fault.Invalidf(subject, "ulimit",
				"ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
		seen[u.Name] = true
	}
	return nil
}

// MergeUlimits returns the limits, then the defaults of other names.
func MergeUlimits(limits, defaults []Ulimit) []Ulimit {
	out := slices.Clone(limits)
	for _, d := range defaults {
		if !slices.ContainsFunc(limits, func(u Ulimit) bool { return u.Name == d.Name }) {
			out = append(out, d)
		}
	}
	return out
}

// decimal formats a number for a message; nil is 0.
func decimal[N int | int64](n *N) string {
	if n == nil {
		return "0"
	}
	return strconv.FormatInt(int64(*n), 10)
}
