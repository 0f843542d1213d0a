package image

import (
	"path"
	"strings"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/ctl/imageref"
)

// filter says which lines are listed.
type filter struct {
	name     string // NAME[:TAG] or a pattern; empty: all
	dangling string // "true", "false" or empty
	patterns []string
}

func parseFilter(specs []string) (f filter, err error) {
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
		default:
			return f, fault.New(fault.Invalid, "--filter "+spec, "invalid filter", fault.WithField("filter"),
				fault.WithHint("known are dangling=true|false and reference=PATTERN"))
		}
	}
	return f, nil
}

func (f filter) fits(r row) bool {
	if f.name != "" && !r.is(f.name) {
		return false
	}
	if f.dangling != "" && (f.dangling == "true") != (r.Tag == none) {
		return false
	}
	for _, p := range f.patterns {
		if r.is(p) {
			return true
		}
	}
	return len(f.patterns) == 0
}

// is reports whether the line is what a user means by NAME[:TAG] or by a pattern, whose * stands for all characters but a slash.
func (r row) is(name string) bool {
	if strings.ContainsAny(name, "*?[") {
		return matches(name, r.Repository) || matches(name, r.Repository+":"+r.Tag)
	}
	wanted := imageref.Parse(name)
	return imageref.Parse(r.Repository).Name() == wanted.Name() && (wanted.Tag == "" || wanted.Tag == r.Tag)
}

// matches reports whether a pattern fits. One that is not valid fits nothing.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
