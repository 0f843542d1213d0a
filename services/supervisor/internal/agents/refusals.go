package agents

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// Refusal is the first refusal of its kind.
type Refusal struct {
	Time                                  time.Time
	Owner                                 string // container ID
	Reason, Rule, Protocol, Address, Name string // Address is the source if Incoming
	Port                                  uint16
	Incoming                              bool
}

// FollowRefusals calls found for each first refusal after a time, until ctx ends or the connection fails.
func (a *Agents) FollowRefusals(ctx context.Context, since time.Time, found func(Refusal)) error {
	stream, err := a.cfg.Policies.WatchRefusals(ctx, &natv1.WatchRefusalsRequest{Since: timestamppb.New(since),
		Follow: true, First: true})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, r := range resp.GetRefusals() {
			found(Refusal{Time: r.GetTime().AsTime(), Owner: r.GetOwner(), Reason: r.GetReason(), Rule: r.GetRule(),
				Protocol: r.GetProtocol(), Address: r.GetAddress(), Name: r.GetName(), Port: uint16(r.GetPort()),
				Incoming: r.GetIncoming()})
		}
	}
}
