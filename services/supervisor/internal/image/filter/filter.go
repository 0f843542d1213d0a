// Package filter selects images by KEY=VALUE filters, as `docker images` and `docker image prune`
// have them. It performs no I/O.
package filter

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// The keys.
const (
	Until    = "until"    // created before an age or a time
	Label    = "label"    // KEY or KEY=VALUE; label! excludes
	Dangling = "dangling" // true: without a tag
)

// Filter holds the parsed filters. All must match.
type Filter struct {
	AllTags bool // dangling=false: images with tags match too

	until   []time.Time
	labels  []label
	without []label
}

type label struct {
	key, value string
	valued     bool
}

// Parse parses filters. keys are the supported ones.
func Parse(specs []string, now time.Time, keys ...string) (*Filter, error) {
	f := &Filter{}
	for _, spec := range specs {
		key, value, ok := strings.Cut(spec, "=")
		if !ok {
			return nil, fault.Invalidf("filter "+spec, "filters", "bad format of filter (expected name=value)")
		}
		if !slices.Contains(keys, strings.TrimSuffix(key, "!")) || key == Until+"!" || key == Dangling+"!" {
			return nil, fault.Invalidf("filter "+spec, "filters", "invalid filter '%s'", key)
		}
		if err := f.add(spec, key, value, now); err != nil {
			return nil, err
		}
	}

	return f, nil
}

func (f *Filter) add(spec, key, value string, now time.Time) error {
	switch key {
	case Until:
		t, err := parseTime(value, now)
		if err != nil {
			return fault.Invalidf("filter "+spec, "filters", "%q is not a duration or an RFC 3339 time", value)
		}
		f.until = append(f.until, t)
	case Dangling:
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fault.Invalidf("filter "+spec, "filters", "invalid filter '%s'", spec)
		}
		f.AllTags = !on
	case Label:
		f.labels = append(f.labels, parseLabel(value))
	case Label + "!":
		f.without = append(f.without, parseLabel(value))
	}

	return nil
}

func parseLabel(s string) label {
	key, value, valued := strings.Cut(s, "=")
	return label{key, value, valued}
}

// parseTime parses an age, Unix seconds, or a date.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Parse(time.RFC3339Nano, s)
}

// Match reports whether an image matches all filters except dangling.
func (f *Filter) Match(img *store.Image) bool {
	for _, t := range f.until {
		if !img.CreatedAt.Before(t) {
			return false
		}
	}
	if len(f.labels) == 0 && len(f.without) == 0 {
		return true
	}

	var c ocispec.Image
	_ = json.Unmarshal(img.Config, &c) // it was validated when the image was stored
	has := func(l label) bool {
		value, ok := c.Config.Labels[l.key]
		return ok && (!l.valued || value == l.value)
	}
	for _, l := range f.labels {
		if !has(l) {
			return false
		}
	}

	return !slices.ContainsFunc(f.without, has)
}
