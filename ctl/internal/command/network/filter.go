package network

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// listed is a network; used is set if a running container is connected to it and the filter needs
// that.
type listed struct {
	*networkv1.Network
	used bool
}

// filterKinds maps each key to a function that reports whether a network matches a value.
var filterKinds = map[string]func(n listed, value string) bool{
	"driver":   func(n listed, value string) bool { return n.GetDriver() == value },
	"id":       func(n listed, value string) bool { return strings.HasPrefix(n.GetId(), value) },
	"label":    func(n listed, value string) bool { return hasLabel(n.Network, value) },
	"scope":    func(n listed, value string) bool { return scopeOf(n.Network) == value },
	"type":     func(n listed, value string) bool { return n.GetPredefined() == (value == "builtin") },
	"dangling": func(n listed, value string) bool { return (!n.used && !n.GetPredefined()) == boolValues[value] },
	"name": func(n listed, value string) bool {
		ok, err := regexp.MatchString(value, n.GetName())
		return ok && err == nil // validated by parseFilter
	},
}

// scopeOf returns the scope of a network. An older agent reports none.
func scopeOf(n *networkv1.Network) string { return cmp.Or(n.GetScope(), "local") }

// boolValues maps the boolean values of filters.
var boolValues = map[string]bool{"true": true, "1": true, "false": false, "0": false}

// filter holds the values for each key.
type filter map[string][]string

// parseFilter parses the values of --filter.
func parseFilter(specs []string) (filter, error) {
	wanted := filter{}
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		_, known := filterKinds[kind]
		_, truth := boolValues[value]
		refuse := func(format string, args ...any) error {
			return fault.Invalidf("--filter "+spec, "filter", format, args...)
		}
		switch {
		case !ok:
			return nil, refuse("bad format of filter (expected name=value)")
		case !known:
			return nil, refuse("invalid filter '%s'; use name, id, driver, scope, type, label or dangling", kind)
		case kind == "type" && value != "builtin" && value != "custom":
			return nil, refuse("invalid filter 'type=%s'; use builtin or custom", value)
		case kind == "scope" && !slices.Contains([]string{"local", "global", "swarm"}, value):
			return nil, refuse("invalid filter 'scope=%s'; use local, global or swarm", value)
		case kind == "dangling" && !truth:
			return nil, refuse("invalid filter 'dangling=%s'; use true or false", value)
		case kind == "name":
			if _, err := regexp.Compile(value); err != nil {
				return nil, refuse("%s", err)
			}
		}
		wanted[kind] = append(wanted[kind], value)
	}

	return wanted, nil
}

// fits reports whether a network matches. Values of the same key are alternatives; labels must all
// match.
func (f filter) fits(n listed) bool {
	for kind, values := range f {
		fits := func(v string) bool { return filterKinds[kind](n, v) }
		if kind == "label" && slices.ContainsFunc(values, func(v string) bool { return !fits(v) }) ||
			!slices.ContainsFunc(values, fits) {
			return false
		}
	}
	return true
}

// used returns the IDs of the networks with running containers, if the filter needs them.
func (f filter) used(ctx context.Context, cl *client.Client) (map[string]bool, error) {
	if f["dangling"] == nil {
		return nil, nil
	}

	list, err := cl.ListContainers(ctx, false)
	if err != nil {
		return nil, err
	}

	out := map[string]bool{}
	for _, c := range list {
		for _, e := range c.GetSandbox().GetEndpoints() {
			out[e.GetNetworkId()] = true
		}
	}

	return out, nil
}
