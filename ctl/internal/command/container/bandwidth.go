package container

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// parseBandwidth parses --bandwidth. It returns nil for an empty text.
func parseBandwidth(text string) (*containerv1.Bandwidth, error) {
	if text == "" {
		return nil, nil
	}
	l, err := bandwidth.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--bandwidth: %w", err)
	}
	return &containerv1.Bandwidth{In: l.In, Out: l.Out}, nil
}

// parsePackets parses --packets. It returns nil for an empty text.
func parsePackets(text string) (*containerv1.Packets, error) {
	if text == "" {
		return nil, nil
	}
	p, err := egress.ParsePackets(text)
	if err != nil {
		return nil, fmt.Errorf("--packets: %w", err)
	}
	return &containerv1.Packets{In: p.In, Out: p.Out}, nil
}
