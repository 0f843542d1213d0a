package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// maxDrain is the maximum timeout of DrainConnections.
const maxDrain = time.Minute

// DrainConnections waits until connections from and to addresses have ended.
func (s *Server) DrainConnections(ctx context.Context,
	req *natv1.DrainConnectionsRequest) (*natv1.DrainConnectionsResponse, error) {
	addresses, err := flowAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}

	atMost := time.Duration(req.GetTimeoutMs()) * time.Millisecond
	if atMost > maxDrain {
		return nil, fault.Invalidf("flows", "at_most_ms", "%s is too long, must be at most %s", atMost, maxDrain)
	}

	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	open, err := s.publications.DrainConnections(ctx, addresses)
	if err != nil {
		return nil, err
	}

	return &natv1.DrainConnectionsResponse{OpenConnections: uint32(open)}, nil
}

// DeleteConntrack deletes the conntrack entries of released addresses.
func (s *Server) DeleteConntrack(ctx context.Context,
	req *natv1.DeleteConntrackRequest) (*natv1.DeleteConntrackResponse, error) {
	addresses, err := flowAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	if err := s.publications.DeleteConntrack(ctx, addresses); err != nil {
		return nil, err
	}
	return &natv1.DeleteConntrackResponse{}, nil
}

func flowAddresses(texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || a.IsUnspecified() {
			return nil, fault.Invalidf("flows", "addresses", "%q is not a valid container address", text)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}
