package plan

import (
	"slices"

	"github.com/fairlead/fairlead/proto/id"
)

// Scope is a container, or one of its endpoints, that limits apply to.
type Scope struct {
	Name     string // of its chains
	BytesOut uint64 // from it in a second; 0: no limit
	*Container
}

// Scopes returns what has limits: all endpoints together, then each of them. An endpoint whose limit is of a kind that
// the container has too is not expected.
func (c *Container) Scopes() (all []Scope) {
	if c.Limits.IsLimited() {
		all = append(all, Scope{Name: id.Short(c.Owner), Container: c})
	}
	for _, e := range c.Endpoints {
		if e.Limits.IsLimited() || e.BytesOut > 0 {
			all = append(all, Scope{Name: id.Short(c.Owner) + "_" + id.Short(e.NetworkID), BytesOut: e.BytesOut,
				Container: &Container{Owner: c.Owner, Limits: e.Limits, Endpoints: []Endpoint{e}}})
		}
	}
	return all
}

// IsLimited reports whether a container or an endpoint has limits.
func (c *Container) IsLimited() bool { return len(c.Scopes()) > 0 }

// LimitsConnections reports whether a container or an endpoint has a limit of connections.
func (c *Container) LimitsConnections() bool {
	return slices.ContainsFunc(c.Scopes(), func(s Scope) bool { return s.Limits.Connections > 0 })
}
