package cli

import (
	"strconv"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// ParseTime parses the time of a flag: an age, Unix seconds, or a date in one of Docker's formats.
func ParseTime(flag, s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}

	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Unix(0, int64(f*float64(time.Second))), nil
	}

	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
		"2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}

	return time.Time{}, fault.Invalidf(flag+" "+s, "since", "not a time")
}
