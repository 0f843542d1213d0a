package create

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// ports returns the port mappings, sorted by container port.
func (b *Body) ports(extra extras) (all []port.Mapping, warnings []string, err error) {
	for _, p := range sortedPorts(b.HostConfig.PortBindings) {
		bindings := b.HostConfig.PortBindings[p]
		if len(bindings) == 0 {
			bindings = []network.PortBinding{{}}
			warnings = append(warnings, "Following container port(s) have an empty list of port-bindings: "+p.String()+
				". An ephemeral host port is used")
		}
		for _, binding := range bindings {
			m, err := mapping(p, binding)
			if err != nil {
				return nil, nil, err
			}
			if m.Sources, err = extra.sources(p); err != nil {
				return nil, nil, err
			}
			all = append(all, m)
		}
	}
	return all, warnings, extra.unusedSources(b.HostConfig.PortBindings)
}

// mapping converts one binding. Its host port can be a range, of which the first free port is used.
func mapping(p network.Port, binding network.PortBinding) (port.Mapping, error) {
	m := port.Mapping{Protocol: port.Protocol(p.Proto()), HostIP: binding.HostIP.Unmap(),
		Container: port.Single(p.Num())}
	if m.HostIP.IsUnspecified() && m.HostIP.Is4() {
		// 0.0.0.0 of clients that fill in the default. An explicit one means the same addresses for IPv4.
		m.HostIP = binding.HostIP
	}
	text := strings.TrimSpace(binding.HostPort)
	if text != "" && text != "0" {
		r, err := network.ParsePortRange(text)
		if err != nil || r.Start() == 0 {
			return m, httpapi.Errorf(http.StatusBadRequest, "invalid port specification: %.100q", binding.HostPort)
		}
		m.Host = port.Range{First: r.Start(), Last: r.End()}
	}
	if err := m.Validate(); err != nil {
		return m, httpapi.Errorf(http.StatusBadRequest, "port %s: %s", p, err)
	}
	return m, nil
}

// exposed returns the exposed ports without those that are published.
func (b *Body) exposed() (all []port.Exposed, err error) {
	for _, p := range sortedPorts(b.ExposedPorts) {
		if _, published := b.HostConfig.PortBindings[p]; published {
			continue
		}
		e := port.Exposed{Protocol: port.Protocol(p.Proto()), Ports: port.Single(p.Num())}
		if err := e.Validate(); err != nil {
			return nil, httpapi.Errorf(http.StatusBadRequest, "port %s: %s", p, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// sortedPorts returns the keys of a map.
func sortedPorts[V any](m map[network.Port]V) []network.Port {
	var all []network.Port
	for p := range m {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Num(), b.Num()), cmp.Compare(a.Proto(), b.Proto()))
	})
	return all
}
