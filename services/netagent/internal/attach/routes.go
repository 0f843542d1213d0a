package attach

import (
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// WithRoutes returns the sandbox with these endpoints and the routes that result from them.
func (m *Syncer) WithRoutes(sb endpoint.Sandbox, endpoints []endpoint.Endpoint) endpoint.Sandbox {
	sb.Endpoints = endpoints
	nets := m.NetworksOf(sb)
	sb.Endpoints = endpoint.ChooseRoutes(endpoint.ChooseGateways(endpoints, nets), nets)
	return sb
}

// UpdateRoutes sets the routes that differ between before and after. Unchanged ones are not
// touched, so a container keeps its own changes.
func (m *Syncer) UpdateRoutes(ns namespace.Namespace, before, after endpoint.Sandbox) error {
	var err error
	if !slices.Equal(linkRoutes(before), linkRoutes(after)) {
		err = ns.SetDHCPRoutes(m.dhcpInterfaces(after), linkRoutes(after))
	}
	if err != nil || slices.Equal(routes(before), routes(after)) {
		return err
	}
	return ns.SetDefaultRoutes(routes(after))
}

// ApplyRoutes sets all routes of the sandbox. Default routes come last, as their gateways may
// depend on other routes.
func (m *Syncer) ApplyRoutes(ns namespace.Namespace, sb endpoint.Sandbox) error {
	if err := ns.SetDHCPRoutes(m.dhcpInterfaces(sb), linkRoutes(sb)); err != nil {
		return err
	}
	return ns.SetDefaultRoutes(routes(sb))
}

// dhcpInterfaces returns the interfaces on networks with DHCP. Routes on other interfaces belong to
// the container.
func (m *Syncer) dhcpInterfaces(sb endpoint.Sandbox) []string {
	var out []string
	for _, e := range sb.Endpoints {
		if n, _, ok := m.NetworkOf(e); ok && n.UsesDHCP() {
			out = append(out, e.Interface)
		}
	}
	return out
}

// linkRoutes returns the routes received by DHCP.
func linkRoutes(sb endpoint.Sandbox) []kernel.DHCPRoute {
	var out []kernel.DHCPRoute
	for _, e := range sb.Endpoints {
		for _, r := range e.Routes {
			out = append(out, kernel.DHCPRoute{Interface: e.Interface, To: r.To, Via: r.Via})
		}
	}
	return out
}

// RerouteAll sets the routes of a sandbox in its namespace.
func (m *Syncer) RerouteAll(sb endpoint.Sandbox) error {
	return Fault(m.namespaces.Within(sb.NetnsPath,
		func(ns namespace.Namespace) error { return m.ApplyRoutes(ns, sb) }), sb)
}

// RerouteBack sets the routes of before again, after those of after may have been set.
func (m *Syncer) RerouteBack(before, after endpoint.Sandbox) error {
	err := m.namespaces.Within(before.NetnsPath, func(ns namespace.Namespace) error {
		return m.UpdateRoutes(ns,
			after, before)
	})
	return Fault(err, before)
}

func routes(sb endpoint.Sandbox) []kernel.DefaultRoute {
	var out []kernel.DefaultRoute
	for _, e := range sb.Endpoints {
		for _, gw := range e.Gateways() {
			out = append(out, kernel.DefaultRoute{Interface: e.Interface, Gateway: gw})
		}
	}
	return out
}
