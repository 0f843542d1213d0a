package api

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// PublishPorts implements ContainerServiceServer.
func (s *containerServer) PublishPorts(ctx context.Context,
	req *containerv1.PublishPortsRequest) (*containerv1.PublishPortsResponse, error) {
	ports, err := portpb.MappingsFromProto(req.GetPorts())
	if err != nil {
		return nil, err
	}

	addresses, err := portpb.AddressesFromProto(req.GetAddresses())
	if err != nil {
		return nil, err
	}

	bindings, warnings, err := s.containers.PublishPorts(ctx, req.GetReference(), ports, addresses)
	if err != nil {
		return nil, err
	}

	return &containerv1.PublishPortsResponse{Bindings: portpb.BindingsToProto(bindings), Warnings: warnings}, nil
}

// UnpublishPorts implements ContainerServiceServer.
func (s *containerServer) UnpublishPorts(ctx context.Context,
	req *containerv1.UnpublishPortsRequest) (*containerv1.UnpublishPortsResponse, error) {
	ports, err := portpb.MappingsFromProto(req.GetPorts())
	if err != nil {
		return nil, err
	}

	var addresses []netip.Addr
	for _, text := range req.GetAddresses() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fault.Invalidf("container", "publish_address", "invalid IP address: %s", text)
		}
		addresses = append(addresses, addr.Unmap())
	}

	return &containerv1.UnpublishPortsResponse{},
		s.containers.UnpublishPorts(ctx, req.GetReference(), ports, addresses, req.GetAll())
}
