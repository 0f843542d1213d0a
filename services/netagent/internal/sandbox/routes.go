package sandbox

import (
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// withRoutes is the sandbox with these endpoints and the routes that follow from them.
func (m *Manager) withRoutes(sb network.Sandbox, endpoints []network.Endpoint) network.Sandbox {
	sb.Endpoints = endpoints
	nets := m.networksOf(sb)
	sb.Endpoints = network.ChooseRoutes(network.ChooseGateways(endpoints, nets), nets)
	return sb
}

// updateRoutes moves the routes if they are other ones now. Those that a container has laid itself stay else.
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

// applyRoutes makes the routes be those of the sandbox. The default routes come last, as they may lead by others.
func (m *Manager) applyRoutes(ns *kernel.Namespace, sb network.Sandbox) error {
	if err := ns.SetDHCPRoutes(m.dhcpInterfaces(sb), linkRoutes(sb)); err != nil {
		return err
	}
	return ns.SetDefaultRoutes(routes(sb))
}

// dhcpInterfaces are the interfaces whose LANs may tell routes. On others those are the container's own.
func (m *Manager) dhcpInterfaces(sb network.Sandbox) []string {
	var out []string
	for _, e := range sb.Endpoints {
		if n, _, ok := m.networkOf(e); ok && n.UsesDHCP() {
			out = append(out, e.Interface)
		}
	}
	return out
}

// linkRoutes are those that LANs tell.
func linkRoutes(sb network.Sandbox) []kernel.DHCPRoute {
	var out []kernel.DHCPRoute
	for _, e := range sb.Endpoints {
		for _, r := range e.Routes {
			out = append(out, kernel.DHCPRoute{Interface: e.Interface, To: r.To, Via: r.Via})
		}
	}
	return out
}

// rerouteAll sets the routes of a sandbox as its record says.
func (m *Manager) rerouteAll(sb network.Sandbox) error {
	return m.asFault(kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return m.applyRoutes(ns, sb) }), sb)
}

func (m *Manager) rerouteBack(before, after network.Sandbox) error {
	err := kernel.WithPinned(before.NetnsPath, func(ns *kernel.Namespace) error { return m.updateRoutes(ns, after, before) })
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
