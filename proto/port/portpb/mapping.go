package portpb

import (
	"errors"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
)

// MappingFromProto converts and validates a port mapping.
func MappingFromProto(in *natv1.PortMapping) (port.Mapping, error) {
	m := port.Mapping{Protocol: ProtocolFromProto(in.GetProtocol())}
	host, hostText, hostOK := rangeFromProto(in.GetHostPort(), in.GetHostPortEnd())
	ctr, ctrText, ctrOK := rangeFromProto(in.GetContainerPort(), in.GetContainerPortEnd())
	m.Host, m.Container = host, ctr

	var err error
	if m.HostIP, err = addrFromProto(in.GetHostIp()); err == nil {
		m.Sources, err = port.ParseSources(in.GetAllowedSources())
	}

	switch {
	case err != nil:
	case !ctrOK:
		err = errors.New("invalid containerPort: " + ctrText)
	case !hostOK:
		err = errors.New("invalid hostPort: " + hostText)
	default:
		err = m.Validate()
	}
	if err != nil {
		return port.Mapping{}, invalid("publish "+textFromProto(in, hostText, ctrText), "publish", err)
	}

	return m, nil
}

// textFromProto returns a port mapping in the syntax of -p. Its values can be invalid.
func textFromProto(in *natv1.PortMapping, host, ctr string) string {
	if in.GetHostPort() == 0 && in.GetHostPortEnd() == 0 {
		host = ""
	}
	s := ctr + "/" + string(ProtocolFromProto(in.GetProtocol()))
	switch ip := in.GetHostIp(); {
	case strings.Contains(ip, ":"):
		s = "[" + ip + "]:" + host + ":" + s
	case ip != "":
		s = ip + ":" + host + ":" + s
	case host != "":
		s = host + ":" + s
	}
	for _, from := range in.GetAllowedSources() {
		s += ",from=" + from
	}
	return s
}

// MappingToProto converts a port mapping.
func MappingToProto(m port.Mapping) *natv1.PortMapping {
	out := &natv1.PortMapping{Protocol: ProtocolToProto(m.Protocol), HostIp: addrToProto(m.HostIP),
		AllowedSources: m.Sources.Strings()}
	out.HostPort, out.HostPortEnd = rangeToProto(m.Host)
	out.ContainerPort, out.ContainerPortEnd = rangeToProto(m.Container)
	return out
}

// MappingsFromProto converts and validates port mappings.
func MappingsFromProto(in []*natv1.PortMapping) ([]port.Mapping, error) {
	return each(in, MappingFromProto)
}

// MappingsToProto converts port mappings.
func MappingsToProto(in []port.Mapping) []*natv1.PortMapping { return all(in, MappingToProto) }

// AddressFromProto converts and validates a published address.
func AddressFromProto(in *natv1.AddressMapping) (port.Address, error) {
	a := port.Address{NoSNAT: in.GetNoSnat()}
	var err error
	if a.HostIP, err = addrFromProto(in.GetHostIp()); err == nil {
		a.Sources, err = port.ParseSources(in.GetAllowedSources())
	}
	if err == nil && !a.HostIP.IsValid() {
		err = errors.New("no address given")
	}
	if err != nil {
		return port.Address{}, invalid("publish address", "publish_address", err)
	}
	if a.Validate() != nil {
		return port.Address{}, fault.New(fault.Invalid, "address "+in.GetHostIp(), "cannot be published",
			fault.WithField("publish_address"),
			fault.WithHint("use an external address of the host, or publish ports with -p"))
	}
	return a, nil
}

// AddressToProto converts a published address.
func AddressToProto(a port.Address) *natv1.AddressMapping {
	return &natv1.AddressMapping{HostIp: addrToProto(a.HostIP), NoSnat: a.NoSNAT, AllowedSources: a.Sources.Strings()}
}

// AddressesFromProto converts and validates published addresses.
func AddressesFromProto(in []*natv1.AddressMapping) ([]port.Address, error) {
	return each(in, AddressFromProto)
}

// AddressesToProto converts published addresses.
func AddressesToProto(in []port.Address) []*natv1.AddressMapping { return all(in, AddressToProto) }
