package image

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/imageref"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// filter selects rows of the list.
type filter struct {
	name     string // NAME[:TAG] or a pattern; empty means all
	dangling string // "true", "false" or empty
	patterns []string
	labels   []string
	before   string
	since    string
	until    []time.Time

	earlier, later *containerv1.Image // images of before and since
}

func parseFilter(specs []string, now time.Time) (f filter, err error) {
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return f, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		case kind == "dangling" && (value == "true" || value == "1"):
			f.dangling = "true"
		case kind == "dangling" && (value == "false" || value == "0"):
			f.dangling = "false"
		case kind == "reference" && value != "":
			f.patterns = append(f.patterns, value)
		case kind == "label" && value != "":
			f.labels = append(f.labels, value)
		case kind == "before" && value != "":
			f.before = value
		case kind == "since" && value != "":
			f.since = value
		case kind == "until":
			t, err := cli.ParseTime("--filter until", value, now)
			if err != nil {
				return f, err
			}
			f.until = append(f.until, t)
		default:
			return f, fault.New(fault.Invalid, "--filter "+spec, "invalid filter", fault.WithField("filter"),
				fault.WithHint("use dangling=true|false, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, "+
					"since=IMAGE or until=TIME"))
		}
	}

	return f, nil
}

// find resolves the images of before and since.
func (f *filter) find(list []*containerv1.Image) error {
	for _, n := range []struct {
		kind, name string
		found      **containerv1.Image
	}{{"before", f.before, &f.earlier}, {"since", f.since, &f.later}} {
		if n.name == "" {
			continue
		}
		wanted := imageref.Parse(n.name).String()
		for _, i := range list {
			named := slices.ContainsFunc(i.GetTags(),
				func(tag string) bool { return imageref.Parse(tag).String() == wanted })
			if named || strings.HasPrefix(strings.TrimPrefix(i.GetId(), "sha256:"), n.name) {
				*n.found = i
			}
		}
		if *n.found == nil {
			return fault.NotFoundf("--filter "+n.kind+"="+n.name, "No such image: %s", n.name)
		}
	}

	return nil
}

func (f filter) fits(r row) bool {
	if f.name != "" && !r.is(f.name) {
		return false
	}
	if f.dangling != "" && (f.dangling == "true") != (r.Tag == none) {
		return false
	}
	if len(f.labels) > 0 && !inspect.HasLabels(r.image, f.labels) {
		return false
	}

	built := r.image.GetCreatedAt().AsTime()
	if f.earlier != nil && !built.Before(f.earlier.GetCreatedAt().AsTime()) || f.later != nil &&
		!built.After(f.later.GetCreatedAt().AsTime()) {
		return false
	}

	for _, t := range f.until {
		if !built.Before(t) {
			return false
		}
	}

	for _, p := range f.patterns {
		if r.is(p) {
			return true
		}
	}

	return len(f.patterns) == 0
}

// is reports whether a row matches NAME[:TAG] or a pattern. In a pattern, * matches all characters
// but a slash.
func (r row) is(name string) bool {
	if strings.ContainsAny(name, "*?[") {
		return matches(name, r.Repository) || matches(name, r.Repository+":"+r.Tag)
	}
	wanted := imageref.Parse(name)
	return imageref.Parse(r.Repository).Name() == wanted.Name() && (wanted.Tag == "" || wanted.Tag == r.Tag)
}

// matches reports whether a pattern matches. An invalid pattern matches nothing.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
