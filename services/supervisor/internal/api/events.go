package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/events"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/eventstream"
)

// NetworkEvents is the part of netagent's client that the handlers use.
type NetworkEvents interface {
	WatchEvents(ctx context.Context, in *networkv1.WatchEventsRequest,
		opts ...grpc.CallOption) (grpc.ServerStreamingClient[networkv1.WatchEventsResponse], error)
}

// FleetEvents is the part of fleetagent's client that the handlers use.
type FleetEvents interface {
	WatchFleetEvents(ctx context.Context, in *fleetv1.WatchFleetEventsRequest,
		opts ...grpc.CallOption) (grpc.ServerStreamingClient[fleetv1.WatchFleetEventsResponse], error)
}

// WatchEvents implements ContainerServiceServer.
func (s *containerServer) WatchEvents(req *containerv1.WatchEventsRequest,
	stream grpc.ServerStreamingServer[containerv1.WatchEventsResponse]) error {
	f, err := events.ParseFilter(req.GetFilters())
	if err != nil {
		return err
	}
	send := func(e *eventv1.Event) error { return stream.Send(&containerv1.WatchEventsResponse{Event: e}) }
	own := func(ctx context.Context, send func(*eventv1.Event) error) error {
		return s.events.Watch(ctx, req.GetSince(), req.GetUntil(), f, send)
	}
	if !req.GetAll() {
		return own(stream.Context(), send)
	}
	sources := []eventstream.Source{own, s.networkEvents(req)}
	if s.fleet != nil {
		sources = append(sources, s.fleetEvents(req))
	}
	return eventstream.Merge(stream.Context(), send, sources...)
}

// fleetEvents returns the events of fleetagent. Without it there are none: a host may not run it.
func (s *containerServer) fleetEvents(req *containerv1.WatchEventsRequest) eventstream.Source {
	return func(ctx context.Context, send func(*eventv1.Event) error) error {
		stream, err := s.fleet.WatchFleetEvents(ctx, &fleetv1.WatchFleetEventsRequest{Since: req.GetSince(),
			Until: req.GetUntil(), Filters: req.GetFilters()})
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		for {
			m, err := stream.Recv()
			if err != nil {
				return nil //nolint:nilerr // the other events continue
			}
			if err := send(m.GetEvent()); err != nil {
				return err
			}
		}
	}
}

// networkEvents returns the events of netagent.
func (s *containerServer) networkEvents(req *containerv1.WatchEventsRequest) eventstream.Source {
	return func(ctx context.Context, send func(*eventv1.Event) error) error {
		stream, err := s.networks.WatchEvents(ctx, &networkv1.WatchEventsRequest{Since: req.GetSince(),
			Until: req.GetUntil(), Filters: req.GetFilters()})
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err == nil {
				err = send(m.GetEvent())
			}
			if err != nil {
				return err
			}
		}
	}
}
