package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// longestDrain is how long one may be waited for.
const longestDrain = time.Minute

// DrainConnections waits until connections from and to addresses have ended.
func (s *Server) DrainConnections(ctx context.Context, req *natv1.DrainConnectionsRequest) (*natv1.DrainConnectionsResponse, error) {
	addresses, err := flowAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	atMost := time.Duration(req.GetTimeoutMs()) * time.Millisecond
	if atMost > longestDrain {
		return nil, fault.Invalidf("flows", "at_most_ms", "%s is too long to wait for connections to end; the most is %s", atMost, longestDrain)
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	open, err := s.publications.DrainConnections(ctx, addresses)
	if err != nil {
		return nil, err
	}
	return &natv1.DrainConnectionsResponse{OpenConnections: uint32(open)}, nil
}

// DeleteConntrack cuts the flows of addresses that nobody has any more.
func (s *Server) DeleteConntrack(ctx context.Context, req *natv1.DeleteConntrackRequest) (*natv1.DeleteConntrackResponse, error) {
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
			return nil, fault.Invalidf("flows", "addresses", "%q is no address that a container has had", text)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}
