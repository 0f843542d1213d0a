package api

import (
	"strings"

	"github.com/fairlead/fairlead/agent/filter"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func parseFilter(specs []string) (filter.Values, error) {
	return filter.Parse(specs, map[string]filter.Check{"name": filter.Pattern, "id": nil, "driver": nil, "label": nil,
		"scope": filter.OneOf("scope", "local", "global", "swarm"), "type": filter.OneOf("type", "builtin", "custom"),
		"dangling": filter.Boolean("dangling")}, "name, id, driver, scope, type, label or dangling")
}

// used returns the IDs of the networks with endpoints, if a filter needs them.
func (h *networkHandler) used(v filter.Values) map[string]bool {
	out := map[string]bool{}
	if !v.Has("dangling") {
		return out
	}
	for _, sb := range h.sandboxes.List() {
		for _, e := range sb.Endpoints {
			out[e.NetworkID] = true
		}
	}
	return out
}

// fits reports whether a network matches. Values of one key are alternatives; labels must all match.
func fits(v filter.Values, n network.Network, used map[string]bool) bool {
	return v.Labels(n.Spec.Labels) &&
		v.Any("name", func(p string) bool { return filter.Matches(p, n.Name) }) &&
		v.Any("id", func(p string) bool { return strings.HasPrefix(n.ID, p) }) &&
		v.Any("driver", func(value string) bool { return value == n.Driver }) &&
		v.Any("scope", func(value string) bool { return value == string(n.Scope) }) &&
		v.Any("type", func(value string) bool { return (value == "builtin") == n.IsPredefined() }) &&
		v.Any("dangling", func(value string) bool {
			return filter.IsTrue(value) == (!used[n.ID] && !n.IsPredefined())
		})
}
