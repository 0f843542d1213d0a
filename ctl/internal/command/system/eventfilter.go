package system

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// eventFilters returns, for each key, a function that reports whether an event matches a value.
func eventFilters() map[string]func(e *eventv1.Event, value string) bool {
	named := func(kind string) func(*eventv1.Event, string) bool {
		return func(e *eventv1.Event, value string) bool {
			return e.GetType() == kind && value != "" &&
				(e.GetAttributes()["name"] == value || strings.HasPrefix(e.GetId(), value))
		}
	}
	return map[string]func(*eventv1.Event, string) bool{
		"type": func(e *eventv1.Event, value string) bool { return e.GetType() == value },
		"event": func(e *eventv1.Event, value string) bool {
			bare, _, _ := strings.Cut(e.GetAction(), ":") // of "exec_start: COMMAND"
			return value == e.GetAction() || value == bare
		},
		"container": named("container"),
		"network":   named("network"),
		"image": func(e *eventv1.Event, value string) bool {
			return e.GetAttributes()["image"] == value || named("image")(e, value)
		},
		"label": func(e *eventv1.Event, value string) bool {
			key, want, valued := strings.Cut(value, "=")
			got, ok := e.GetAttributes()[key]
			return ok && e.GetType() != "network" && (!valued || got == want)
		},
	}
}

// parseEventFilter parses --filter. Values of the same key are alternatives; labels must all match.
func parseEventFilter(specs []string) (func(*eventv1.Event) bool, error) {
	kinds := eventFilters()
	wanted := map[string][]string{}
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		if !ok {
			return nil, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		}
		if kinds[kind] == nil {
			return nil, fault.Invalidf("--filter "+spec, "filter",
				"invalid filter '%s'; use type, event, container, network, image or label", kind)
		}
		wanted[kind] = append(wanted[kind], value)
	}

	return func(e *eventv1.Event) bool {
		for kind, values := range wanted {
			fits := func(v string) bool { return kinds[kind](e, v) }
			if kind == "label" && slices.ContainsFunc(values, func(v string) bool { return !fits(v) }) ||
				!slices.ContainsFunc(values, fits) {
				return false
			}
		}
		return true
	}, nil
}
