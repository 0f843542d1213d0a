package container

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/ctl/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// filter says which containers are listed.
type filter struct {
	names              []*regexp.Regexp
	ids, status, label []string
}

func parseFilter(specs []string) (f filter, err error) {
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return f, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		case kind == "name":
			var r *regexp.Regexp
			if r, err = regexp.Compile(value); err != nil {
				return f, fault.Invalidf("--filter "+spec, "filter", "%s", err)
			}
			f.names = append(f.names, r)
		case kind == "id":
			f.ids = append(f.ids, value)
		case kind == "status" && slices.Contains([]string{"created", "running", "exited", "removing"}, value):
			f.status = append(f.status, value)
		case kind == "label":
			f.label = append(f.label, value)
		default:
			return f, fault.New(fault.Invalid, "--filter "+spec, "invalid filter", fault.WithField("filter"),
				fault.WithHint("known are name, id, label, and status=created|running|exited|removing"))
		}
	}
	return f, nil
}

func (f filter) fits(c *containerv1.Container) bool {
	name := c.GetConfig().GetName()
	return anyOf(f.names, func(r *regexp.Regexp) bool { return r.MatchString(name) || r.MatchString("/"+name) }) &&
		anyOf(f.ids, func(id string) bool { return strings.HasPrefix(c.GetId(), id) }) &&
		anyOf(f.status, func(s string) bool { return s == inspect.Status(c.GetStatus()) }) &&
		!slices.ContainsFunc(f.label, func(l string) bool { return !hasLabel(c.GetConfig().GetLabels(), l) })
}

// anyOf tells whether one of the values fits; with none given, everything does.
func anyOf[T any](values []T, fits func(T) bool) bool {
	return len(values) == 0 || slices.ContainsFunc(values, fits)
}

func hasLabel(labels map[string]string, spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := labels[key]
	return ok && (!valued || got == want)
}
