package container

import (
	"slices"
	"testing"
)

// A container is started after those whose namespaces it joins.
func TestStartOrderFollowsJoins(t *testing.T) {
	joins := map[string][]string{"a": nil, "b": {"a"}, "c": {"b", "other"}, "x": {"y"}, "y": {"x"}, "self": {"self"}}
	look := func(name string) (string, []string) { return name, joins[name] }
	for _, tc := range []struct{ names, want []string }{
		{[]string{"c", "b", "a"}, []string{"a", "b", "c"}},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"b", "c"}, []string{"b", "c"}},
		{[]string{"x", "a", "y"}, []string{"a", "x", "y"}},
		{[]string{"self", "a", "a"}, []string{"a", "self"}},
		{nil, nil},
	} {
		order, after := startOrder(tc.names, look)
		if !slices.Equal(order, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.names, order, tc.want)
		}
		for name, earlier := range after {
			for _, e := range earlier {
				if slices.Index(order, e) >= slices.Index(order, name) {
					t.Errorf("%v: %s waits for %s, which is later", tc.names, name, e)
				}
			}
		}
	}
}
