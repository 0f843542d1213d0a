package sandbox

import (
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// withRoutes returns the sandbox with these endpoints and the routes that result from them.
func (m *Manager) withRoutes(sb network.Sandbox, endpoints []network.Endpoint) network.Sandbox {
	sb.Endpoints = endpoints
	nets := m.networksOf(sb)
	sb.Endpoints = network.ChooseRoutes(network.ChooseGateways(endpoints, nets), nets)
	return sb
}

// updateRoutes sets the routes that differ between before and after. Unchanged ones are not
// touched, so a container keeps its own changes.
func (m *Manager) updateRoutes(ns *kernel.Namespace, before, after network.Sandbox) error {
	var err error
	if !slices.Equal(linkRoutes(before), linkRoutes(after)) {
		err = ns.SetDHCPRoutes(m.dhcpInterfaces(after), linkRoutes(after))
	}
	if err != nil || slices.Equal(routes(before), routes(after)) {
		return err
	}
	return ns.SetDefaultRoutes(routes(after))
}

// applyRoutes sets all routes of the sandbox. Default routes come last, as their gateways may
// depend on other routes.
func (m *Manager) applyRoutes(ns *kernel.Namespace, sb network.Sandbox) error {
	if err := ns.SetDHCPRoutes(m.dhcpInterfaces(sb), linkRoutes(sb)); err != nil {
		return err
	}
	return ns.SetDefaultRoutes(routes(sb))
}

// dhcpInterfaces returns the interfaces on networks with DHCP. Routes on other interfaces belong to
// the container.
func (m *Manager) dhcpInterfaces(sb network.Sandbox) []string {
	var out []string
	for _, e := range sb.Endpoints {
		if n, _, ok := m.networkOf(e); ok && n.UsesDHCP() {
			out = append(out, e.Interface)
		}
	}
	return out
}

// linkRoutes returns the routes received by DHCP.
func linkRoutes(sb network.Sandbox) []kernel.DHCPRoute {
	var out []kernel.DHCPRoute
	for _, e := range sb.Endpoints {
		for _, r := range e.Routes {
			out = append(out, kernel.DHCPRoute{Interface: e.Interface, To: r.To, Via: r.Via})
		}
	}
	return out
}

// rerouteAll sets the routes of a sandbox in its namespace.
func (m *Manager) rerouteAll(sb network.Sandbox) error {
	return m.asFault(kernel.WithPinned(sb.NetnsPath,
		func(ns *kernel.Namespace) error { return m.applyRoutes(ns, sb) }), sb)
}

func (m *Manager) rerouteBack(before, after network.Sandbox) error {
	err := kernel.WithPinned(before.NetnsPath, func(ns *kernel.Namespace) error {
		return m.updateRoutes(ns,
			after, before)
	})
	return m.asFault(err, before)
}

func routes(sb network.Sandbox) []kernel.DefaultRoute {
	var out []kernel.DefaultRoute
	for _, e := range sb.Endpoints {
		for _, gw := range e.Gateways() {
			out = append(out, kernel.DefaultRoute{Interface: e.Interface, Gateway: gw})
		}
	}
	return out
}
