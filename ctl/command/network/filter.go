package network

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// filterKinds are the filters of a list, each with what tells whether a network fits a value.
var filterKinds = map[string]func(n *networkv1.Network, value string) bool{
	"driver": func(n *networkv1.Network, value string) bool { return n.GetDriver() == value },
	"id":     func(n *networkv1.Network, value string) bool { return strings.HasPrefix(n.GetId(), value) },
	"label":  hasLabel,
	"scope":  func(_ *networkv1.Network, value string) bool { return value == "local" },
	"type":   func(n *networkv1.Network, value string) bool { return n.GetPredefined() == (value == "builtin") },
	"name": func(n *networkv1.Network, value string) bool {
		ok, err := regexp.MatchString(value, n.GetName())
		return ok && err == nil // parseFilter has tried it
	},
}

// parseFilter reads the filters of a list. Those of one kind are alternatives, but for labels, which must all be there.
func parseFilter(specs []string) (func(*networkv1.Network) bool, error) {
	wanted := map[string][]string{}
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		switch _, known := filterKinds[kind]; {
		case !ok:
			return nil, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		case !known:
			return nil, fault.Invalidf("--filter "+spec, "filter", "invalid filter '%s'; known are name, id, driver, scope, type and label", kind)
		case kind == "type" && value != "builtin" && value != "custom":
			return nil, fault.Invalidf("--filter "+spec, "filter", "invalid filter 'type=%s'; it is builtin or custom", value)
		case kind == "name":
			if _, err := regexp.Compile(value); err != nil {
				return nil, fault.Invalidf("--filter "+spec, "filter", "%s", err)
			}
		}
		wanted[kind] = append(wanted[kind], value)
	}
	return func(n *networkv1.Network) bool {
		for kind, values := range wanted {
			fits := func(v string) bool { return filterKinds[kind](n, v) }
			if kind == "label" && slices.ContainsFunc(values, func(v string) bool { return !fits(v) }) || !slices.ContainsFunc(values, fits) {
				return false
			}
		}
		return true
	}, nil
}
