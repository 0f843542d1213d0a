package resolvers

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
)

// rule returns the rule of a container.
func (s *Resolvers) rule(owner string) upstreamRule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules[owner]
}

// routes returns the current upstreams of a container for a name: those of the name's forward, else those
// of the container.
func (s *Resolvers) routes(owner, name string) []resolver.Upstream {
	rule := s.rule(owner)
	if f, ok := s.records.Forward(rule.Networks, rule.External, name); ok {
		return s.forwardRoutes(f)
	}
	if rule.Host {
		return routesTo(s.host.Servers(), "host", upstream.DialHost)
	}
	if rule.policy != nil { // the container itself may not reach name servers
		return routesTo(upstream.WithPort(rule.Servers), "host", upstream.DialHost)
	}
	return routesTo(upstream.WithPort(rule.Servers), rule.network, upstream.DialContainer(s.socketServer, owner))
}

// routesTo returns upstreams for servers that are reached from the same network.
func routesTo(servers []netip.AddrPort, from string, dial resolver.Dial) []resolver.Upstream {
	routes := make([]resolver.Upstream, 0, len(servers))
	for _, server := range servers {
		routes = append(routes, resolver.Upstream{Server: server, Network: from, Dial: dial})
	}
	return routes
}

// forwardRoutes returns the servers of a forward, which are reached from the host.
func (s *Resolvers) forwardRoutes(f dnsrecord.Forward) []resolver.Upstream {
	routes := make([]resolver.Upstream, 0, len(f.Servers))
	for _, server := range f.Servers {
		route := resolver.Upstream{Server: server.Addr, Network: "host", Dial: upstream.DialHost}
		if server.TLS { // not in one scope with a plain server: its answers are authentic
			route.Network, route.Stream, route.Dial = "tls "+server.Name, true, s.tls.Dialer(server.Name)
		}
		routes = append(routes, route)
	}
	return routes
}
