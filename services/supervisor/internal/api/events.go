package api

import (
	"google.golang.org/grpc"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// WatchEvents implements ContainerServiceServer.
func (s *containerServer) WatchEvents(req *containerv1.WatchEventsRequest,
	stream grpc.ServerStreamingServer[containerv1.WatchEventsResponse]) error {
	return s.events.Watch(stream.Context(), req.GetSince(), req.GetUntil(), func(e *eventv1.Event) error {
		return stream.Send(&containerv1.WatchEventsResponse{Event: e})
	})
}
