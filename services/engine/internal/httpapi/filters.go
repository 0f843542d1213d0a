package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Filters are the values of Docker's parameter "filters" by key. A key without values filters nothing.
type Filters map[string][]string

// Filters parses the parameter "filters" in both of its encodings: {"key":{"value":true}} and
// {"key":["value"]}. Other keys than the given ones are an error.
func (r *Request) Filters(keys ...string) (Filters, error) {
	return ParseFilters(r.Query("filters"), keys...)
}

// ParseFilters parses a value of the parameter "filters".
func ParseFilters(text string, keys ...string) (Filters, error) {
	all := Filters{}
	if text == "" {
		return all, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, Errorf(http.StatusBadRequest, "invalid filter: %.200q is not a JSON object", text)
	}
	for key, value := range raw {
		if !slices.Contains(keys, key) {
			return nil, Errorf(http.StatusBadRequest, "invalid filter '%.100s'", key)
		}
		var set map[string]bool
		var list []string
		switch {
		case json.Unmarshal(value, &list) == nil:
		case json.Unmarshal(value, &set) == nil:
			for v, on := range set {
				if on {
					list = append(list, v)
				}
			}
			slices.Sort(list)
		default:
			return nil, Errorf(http.StatusBadRequest,
				`invalid filter: key %.100q needs values, as {"%[1]s": {"VALUE": true}} or {"%[1]s": ["VALUE"]}`, key)
		}
		if len(list) > 0 {
			all[key] = list
		}
	}
	return all, nil
}

// Exact reports whether a key has the value, or filters nothing.
func (f Filters) Exact(key, value string) bool {
	return len(f[key]) == 0 || slices.Contains(f[key], value)
}

// Any reports whether one of the values of a key matches, or the key filters nothing.
func (f Filters) Any(key string, matches func(value string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], matches)
}

// Labels reports whether labels match all values of a key, which are KEY or KEY=VALUE.
func (f Filters) Labels(key string, labels map[string]string) bool {
	for _, want := range f[key] {
		if !hasLabel(labels, want) {
			return false
		}
	}
	return true
}

// NoLabels reports whether labels match none of the values of a key.
func (f Filters) NoLabels(key string, labels map[string]string) bool {
	return !slices.ContainsFunc(f[key], func(want string) bool { return hasLabel(labels, want) })
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, valued := strings.Cut(want, "=")
	got, ok := labels[key]
	return ok && (!valued || got == value)
}

// Bool returns the truth value of a key, or nil if the key filters nothing.
func (f Filters) Bool(key string) (*bool, error) {
	if len(f[key]) == 0 {
		return nil, nil
	}
	var out *bool
	for _, text := range f[key] {
		var value bool
		switch text {
		case "1", "true":
			value = true
		case "0", "false":
		default:
			return nil, Errorf(http.StatusBadRequest, "invalid filter '%s=%v'", key, f[key])
		}
		if out != nil && *out != value {
			return nil, Errorf(http.StatusBadRequest, "invalid filter '%s=%v'", key, f[key])
		}
		out = &value
	}
	return out, nil
}

// One returns the only value of a key. It is empty if there is none.
func (f Filters) One(key string) (string, error) {
	if len(f[key]) > 1 {
		return "", Errorf(http.StatusBadRequest, "invalid filter '%s=%v': only one value is allowed", key, f[key])
	}
	if len(f[key]) == 0 {
		return "", nil
	}
	return f[key][0], nil
}

// ParseTime parses Docker's notation of times: seconds since 1970 with a fraction, RFC 3339 and parts of
// it, or a duration before now.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if t, ok := unixTime(text); ok {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Errorf(http.StatusBadRequest, "%.100q is not a time; write seconds since 1970, RFC 3339 or a "+
		"duration such as 10m", text)
}

// unixTime parses seconds with up to nine decimals.
func unixTime(text string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 || seconds > 1<<40 || seconds < -1<<40 {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	return time.Unix(seconds, int64(nanos)), err == nil
}
