package api

import (
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// publicationFromProto converts a request. It validates all values on their own.
func publicationFromProto(req *natv1.PublishRequest) (*publication.Publication, error) {
	p := &publication.Publication{Owner: req.GetOwner(), OwnerName: req.GetOwnerName()}
	var err error
	if p.IPv4, err = addressFromProto(req, "ipv4_address", req.GetIpv4Address()); err != nil {
		return nil, err
	}
	if p.IPv6, err = addressFromProto(req, "ipv6_address", req.GetIpv6Address()); err != nil {
		return nil, err
	}

	if p.Mappings, err = portpb.MappingsFromProto(req.GetMappings()); err != nil {
		return nil, err
	}
	if p.Addresses, err = portpb.AddressesFromProto(req.GetAddresses()); err != nil {
		return nil, err
	}

	return p, nil
}

// addressFromProto parses a container address; empty means none.
func addressFromProto(req *natv1.PublishRequest, field, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() ||
		addr.Is4In6() {
		return netip.Addr{}, fault.Invalidf("container "+req.GetOwnerName(), field,
			"%q is not a valid container address", s)
	}
	return addr, nil
}

func publicationsToProto(all []*publication.Publication) []*natv1.Publication {
	var out []*natv1.Publication
	for _, p := range all {
		out = append(out, &natv1.Publication{Owner: p.Owner, OwnerName: p.OwnerName,
			Bindings: portpb.BindingsToProto(p.Bindings)})
	}
	return out
}

// addressesFromProto parses container addresses.
func addressesFromProto(texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || a.IsUnspecified() {
			return nil, fault.Invalidf("connections", "addresses", "%q is not a valid container address", text)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}

// maxTimeout is the maximum timeout of DrainConnections.
const maxTimeout = time.Minute

// timeoutFromProto converts and validates a timeout.
func timeoutFromProto(ms uint32) (time.Duration, error) {
	timeout := time.Duration(ms) * time.Millisecond
	if timeout > maxTimeout {
		return 0, fault.Invalidf("connections", "timeout_ms", "%s is too long, must be at most %s", timeout, maxTimeout)
	}
	return timeout, nil
}

// packetFromProto converts the connection to explain.
func packetFromProto(req *natv1.ExplainConnectionRequest) (p packettrace.Packet, err error) {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf("connection", field, format, args...)
	}

	p.Interface, p.Protocol = req.GetInterface(), portpb.ProtocolFromProto(req.GetProtocol())
	p.WithoutPolicies = req.GetWithoutPolicies()
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

// verdictToProto converts a verdict. rule names the location of a step.
func verdictToProto(v packettrace.Verdict, foreign []string,
	rule func(packettrace.Location) string) *natv1.ExplainConnectionResponse {
	resp := &natv1.ExplainConnectionResponse{Allowed: v.Reached, ForeignRules: foreign}
	if v.Binding != nil {
		resp.Binding, resp.Container = portpb.BindingToProto(*v.Binding), v.Binding.OwnerName
	}
	for _, step := range v.Steps {
		resp.Steps = append(resp.Steps, &natv1.ExplainStep{Rule: rule(step.Place), Text: step.Text})
	}
	return resp
}
