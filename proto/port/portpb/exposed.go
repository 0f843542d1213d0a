package portpb

import (
	"errors"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port"
)

// ExposedFromProto converts and validates exposed ports.
func ExposedFromProto(in *containerv1.ExposedPort) (port.Exposed, error) {
	e := port.Exposed{Protocol: ProtocolFromProto(in.GetProtocol())}
	ports, text, ok := rangeFromProto(in.GetPort(), in.GetPortEnd())
	err := errors.New("invalid range format for --expose: " + text)
	if ok {
		e.Ports = ports
		err = e.Validate()
	}
	if err != nil {
		return port.Exposed{}, invalid("expose "+text+"/"+string(e.Protocol), "expose", err)
	}
	return e, nil
}

// ExposedToProto converts exposed ports.
func ExposedToProto(e port.Exposed) *containerv1.ExposedPort {
	out := &containerv1.ExposedPort{Protocol: ProtocolToProto(e.Protocol)}
	out.Port, out.PortEnd = rangeToProto(e.Ports)
	return out
}

// ExposedPortsFromProto converts and validates lists of exposed ports.
func ExposedPortsFromProto(in []*containerv1.ExposedPort) ([]port.Exposed, error) {
	return each(in, ExposedFromProto)
}

// ExposedPortsToProto converts lists of exposed ports.
func ExposedPortsToProto(in []port.Exposed) []*containerv1.ExposedPort {
	return all(in, ExposedToProto)
}
