package networkspec

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Limits parses the limits of a network. Empty texts and nil are not given, and 0 connections are no limit. It returns
// nil if none were given.
func Limits(rate, packets string, connections *uint32) (*networkv1.Limits, error) {
	var all egress.Defaults
	var err error
	if rate != "" {
		if all.Bandwidth, err = bandwidth.Parse(rate); err != nil {
			return nil, fmt.Errorf("--bandwidth: %w", err)
		}
	}
	if packets != "" {
		if all.Limits.Packets, err = egress.ParsePackets(packets); err != nil {
			return nil, fmt.Errorf("--packets: %w", err)
		}
	}
	if connections != nil {
		all.Limits.Connections, all.Limits.AnyConnections = *connections, *connections == 0
	}
	return limitpb.ToProto(all), nil
}
