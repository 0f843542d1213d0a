// Package portrecord upgrades stored records to the port model of package port. Records of version 1
// had a shape of their own for each service. Upgraded values are returned unchanged, because a log of
// commits can have both. It performs no I/O.
//
// The stores of natagent and the supervisor use it.
package portrecord

import (
	"encoding/json"

	"github.com/fairlead/fairlead/proto/port"
)

// Edit replaces a value within a JSON object. The path names nested keys; it does nothing if one of
// them is missing or null.
func Edit(object json.RawMessage, change func(json.RawMessage) (any, error), path ...string) (json.RawMessage, error) {
	if len(path) == 0 {
		v, err := change(object)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}

	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	value, ok := fields[path[0]]
	if !ok || string(value) == "null" {
		return object, nil
	}
	value, err := Edit(value, change, path[1:]...)
	if err != nil {
		return nil, err
	}

	fields[path[0]] = value
	return json.Marshal(fields)
}

// span returns a range. An end of 0 means a single port.
func span(first, end uint16) port.Range { return port.Range{First: first, Last: max(first, end)} }

// mapping is a port mapping of version 1 or 2.
type mapping struct {
	port.Mapping

	HostPort, HostPortEnd, ContainerPort, ContainerPortEnd uint16
}

// Mappings converts a list of port mappings.
func Mappings(list json.RawMessage) (any, error) {
	return convert(list, func(in mapping) port.Mapping {
		m := in.Mapping
		m.HostIP = m.HostIP.Unmap()
		if m.Container.IsZero() {
			m.Host, m.Container = span(in.HostPort, in.HostPortEnd), span(in.ContainerPort, in.ContainerPortEnd)
		}
		return m
	})
}

// Addresses converts a list of published addresses.
func Addresses(list json.RawMessage) (any, error) {
	return convert(list, func(a port.Address) port.Address {
		a.HostIP = a.HostIP.Unmap()
		return a
	})
}

// exposed is an exposed port of version 1 or 2.
type exposed struct {
	port.Exposed

	Port, End uint16
}

// Exposed converts a list of exposed ports.
func Exposed(list json.RawMessage) (any, error) {
	return convert(list, func(in exposed) port.Exposed {
		e := in.Exposed
		if e.Ports.IsZero() {
			e.Ports = span(in.Port, in.End)
		}
		return e
	})
}

// binding is a port binding of version 1 or 2.
type binding struct {
	port.Binding

	HostPort, HostPortEnd, ContainerPort, ContainerPortEnd uint16
	Outgoing                                               bool
}

// Bindings converts a list of port bindings. In natagent's records, a binding for direct access has
// the container's address as host address; in the supervisor's it had no host port.
func Bindings(list json.RawMessage) (any, error) {
	return convert(list, func(in binding) port.Binding {
		b := in.Binding
		if b.IsAddress() || !b.Container.IsZero() {
			b.SNAT = b.SNAT || in.Outgoing
			return b
		}

		b.Host, b.Container = span(in.HostPort, in.HostPortEnd), span(in.ContainerPort, in.ContainerPortEnd)
		if b.Host.IsZero() {
			b.HostIP, b.Host = b.ContainerIP, b.Container
			return b
		}

		b.Container.Last = b.Container.First + b.Host.Last - b.Host.First
		return b
	})
}

func convert[A, B any](list json.RawMessage, one func(A) B) (any, error) {
	var in []A
	if err := json.Unmarshal(list, &in); err != nil {
		return nil, err
	}
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, one(a))
	}
	return out, nil
}
