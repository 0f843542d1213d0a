package portpb

import (
	"errors"
	"net/netip"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
)

// BindingFromProto converts a port binding. It checks addresses, ports and sources, but accepts a
// binding without container address and ports.
func BindingFromProto(in *natv1.PortBinding) (port.Binding, error) {
	b := port.Binding{Protocol: ProtocolFromProto(in.GetProtocol()), SNAT: in.GetSnat()}
	host, hostText, hostOK := rangeFromProto(in.GetHostPort(), in.GetHostPortEnd())
	ctr, ctrText, ctrOK := rangeFromProto(in.GetContainerPort(), in.GetContainerPortEnd())

	hostIP, err1 := addrFromProto(in.GetHostIp())
	containerIP, err2 := addrFromProto(in.GetContainerIp())
	sources, err3 := port.ParseSources(in.GetAllowedSources())
	err := errors.Join(err1, err2, err3)
	switch {
	case err != nil:
	case !hostOK || host.Last < host.First:
		err = errors.New("invalid hostPort: " + hostText)
	case !ctrOK || ctr.Last < ctr.First || int(ctr.First)+host.Len() > maxPort+1:
		err = errors.New("invalid containerPort: " + ctrText)
	}
	if err != nil {
		return port.Binding{}, invalid("port binding", "publish", err)
	}

	b.HostIP, b.Host, b.ContainerIP, b.Container, b.Sources = hostIP, host, containerIP, ctr, sources
	switch {
	case b.IsAddress():
	case host.IsZero(): // direct access
		b.HostIP, b.Host = containerIP, ctr
	case b.IsRange():
		b.Container.Last = b.Container.First + host.Last - host.First
	}

	return b, nil
}

// BindingToProto converts a port binding. One for direct access has no host port and the unspecified
// host address.
func BindingToProto(b port.Binding) *natv1.PortBinding {
	out := &natv1.PortBinding{Protocol: ProtocolToProto(b.Protocol), HostIp: addrToProto(b.HostIP),
		ContainerIp: addrToProto(b.ContainerIP), ContainerPort: uint32(b.Container.First), Snat: b.SNAT,
		AllowedSources: b.Sources.Strings()}
	if !b.Direct() {
		out.HostPort, out.HostPortEnd = rangeToProto(b.Host)
		return out
	}

	out.HostIp = netip.IPv4Unspecified().String()
	if b.HostIP.Is6() {
		out.HostIp = netip.IPv6Unspecified().String()
	}
	_, out.ContainerPortEnd = rangeToProto(b.Container)
	return out
}

// BindingsFromProto converts port bindings.
func BindingsFromProto(in []*natv1.PortBinding) ([]port.Binding, error) {
	return each(in, BindingFromProto)
}

// BindingsToProto converts port bindings.
func BindingsToProto(in []port.Binding) []*natv1.PortBinding { return all(in, BindingToProto) }
