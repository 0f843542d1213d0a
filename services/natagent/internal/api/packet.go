package api

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
)

// packetOf converts the connection to explain.
func packetOf(req *natv1.ExplainConnectionRequest) (p packettrace.Packet, err error) {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf("connection", field, format, args...)
	}

	p.Interface, p.Protocol = req.GetInterface(), portpb.ProtocolFromProto(req.GetProtocol())
	if s := req.GetSource(); s != "" {
		if p.Source, err = netip.ParseAddr(s); err != nil || p.Source.Zone() != "" {
			return p, bad("source", "invalid IP address: %s", s)
		}
		p.Source = p.Source.Unmap()
	}

	to, err := netip.ParseAddr(req.GetDestination())
	switch {
	case err != nil || to.Zone() != "":
		return p, bad("destination", "invalid IP address: %s", req.GetDestination())
	case req.GetPort() < 1 || req.GetPort() > 65535:
		return p, bad("port", "%d is not a valid port, must be 1 to 65535", req.GetPort())
	case p.Protocol.Number() == 0:
		return p, bad("protocol", "invalid proto: %s", string(p.Protocol))
	case p.Source.IsValid() && p.Source.Is4() != to.Unmap().Is4():
		return p, bad("source", "%s and %s are of different address families", p.Source, to)
	}

	p.Target = netip.AddrPortFrom(to.Unmap(), uint16(req.GetPort()))
	return p, nil
}
