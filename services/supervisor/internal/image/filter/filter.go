// Package filter selects images by KEY=VALUE filters, as `docker images` and `docker image prune`
// have them. It performs no I/O.
package filter

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// The keys.
const (
	Until     = "until"     // created before an age or a time
	Label     = "label"     // KEY or KEY=VALUE; label! excludes
	Dangling  = "dangling"  // true: without a tag
	Before    = "before"    // created before an image
	Since     = "since"     // created after an image
	Reference = "reference" // pattern for a name, with or without a tag; several are alternatives
)

// Filter holds the parsed filters. All must match.
type Filter struct {
	AllTags       bool     // dangling=false: images with tags match too
	Before, Since []string // the images of before and since; see CreatedBefore and CreatedSince

	dangling *bool
	since    []time.Time
	patterns []string
	until    []time.Time
	labels   []label
	without  []label
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
		if !slices.Contains(keys, key) && key != Label+"!" {
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
		f.AllTags, f.dangling = !on, &on
	case Before:
		f.Before = append(f.Before, value)
	case Since:
		f.Since = append(f.Since, value)
	case Reference:
		if _, err := path.Match(value, ""); err != nil {
			return fault.Invalidf("filter "+spec, "filters", "%q is not a valid pattern", value)
		}
		f.patterns = append(f.patterns, value)
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

// CreatedBefore and CreatedSince add the times of the images in Before and Since.
func (f *Filter) CreatedBefore(t time.Time) { f.until = append(f.until, t) }

// CreatedSince is described at CreatedBefore.
func (f *Filter) CreatedSince(t time.Time) { f.since = append(f.since, t) }

// Select returns the image with the tags and digests that match, or nil if the image does not
// match. It does not modify img.
func (f *Filter) Select(img *store.Image) *store.Image {
	if f.dangling != nil && *f.dangling != (len(img.Tags) == 0) || !f.Match(img) {
		return nil
	}
	if len(f.patterns) == 0 {
		return img
	}

	n := *img
	n.Tags, n.Digests = f.named(img.Tags), f.named(img.Digests)
	if len(n.Tags)+len(n.Digests) == 0 {
		return nil
	}

	return &n
}

// named returns the names that match a pattern.
func (f *Filter) named(names []string) []string {
	var out []string
	for _, name := range names {
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(f.patterns, func(p string) bool {
			ok, err := reference.FamiliarMatch(p, ref)
			return ok && err == nil
		}) {
			out = append(out, name)
		}
	}
	return out
}

// Match reports whether an image matches the times and labels.
func (f *Filter) Match(img *store.Image) bool {
	for _, t := range f.since {
		if !img.CreatedAt.After(t) {
			return false
		}
	}
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
