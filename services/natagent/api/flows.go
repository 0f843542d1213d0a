package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// longestDrain is how long one may be waited for.
const longestDrain = time.Minute

// DrainFlows waits until connections from and to addresses have ended.
func (s *Server) DrainFlows(ctx context.Context, req *natv1.DrainFlowsRequest) (*natv1.DrainFlowsResponse, error) {
	addresses, err := flowAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	atMost := time.Duration(req.GetAtMostMs()) * time.Millisecond
	if atMost > longestDrain {
		return nil, fault.Invalidf("flows", "at_most_ms", "%s is too long to wait for connections to end; the most is %s", atMost, longestDrain)
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	open, err := s.publications.DrainFlows(ctx, addresses)
	if err != nil {
		return nil, err
	}
	return &natv1.DrainFlowsResponse{Open: uint32(open)}, nil
}

// CutFlows cuts the flows of addresses that nobody has any more.
func (s *Server) CutFlows(ctx context.Context, req *natv1.CutFlowsRequest) (*natv1.CutFlowsResponse, error) {
	addresses, err := flowAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	if err := s.publications.CutFlows(ctx, addresses); err != nil {
		return nil, err
	}
	return &natv1.CutFlowsResponse{}, nil
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
