// Package prunefilter parses the filters of the prune commands: until, label and label!. It performs
// no I/O.
package prunefilter

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
)

// Filter selects the objects to remove. All parts must match.
type Filter struct {
	Until           *timestamppb.Timestamp // created before; nil means no limit
	Labels, Exclude []string               // KEY or KEY=VALUE
}

// Parse parses filters. All must match, so the earliest time is used.
func Parse(specs []string, now time.Time) (Filter, error) {
	var f Filter
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return Filter{}, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		case kind == "label":
			f.Labels = append(f.Labels, value)
		case kind == "label!":
			f.Exclude = append(f.Exclude, value)
		case kind == "until":
			until, err := parseUntil(value, now)
			if err != nil {
				return Filter{}, fault.Invalidf("--filter "+spec, "filter",
					"%q is not a duration or an RFC 3339 time", value)
			}
			if f.Until == nil || until.Before(f.Until.AsTime()) {
				f.Until = timestamppb.New(until)
			}
		default:
			return Filter{}, fault.Invalidf("--filter "+spec, "filter",
				"invalid filter '%s'; use until, label or label!", kind)
		}
	}

	return f, nil
}

// parseUntil parses an age, Unix seconds, or a date, as package filter of the supervisor does.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Parse(time.RFC3339Nano, text)
}
