package server_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// WatchEvents sends one message and then waits until the client disconnects.
func (n *names) WatchEvents(_ *containerv1.WatchEventsRequest,
	s grpc.ServerStreamingServer[containerv1.WatchEventsResponse]) error {
	if err := s.Send(&containerv1.WatchEventsResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

// watch subscribes and returns the error of the first message.
func watch(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := containerv1.NewContainerServiceClient(conn).WatchEvents(ctx, &containerv1.WatchEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return faultrpc.FromStatus(err)
}

func TestSubscriptionsLimitedWithoutBlockingCalls(t *testing.T) {
	s, conn, _ := start(t, auth.Admins, &names{list: func(context.Context) error { return nil }})
	s.Ready()
	open, disconnect := context.WithCancel(bounded(t))
	defer disconnect()
	rejected := 0
	for range 1000 {
		if err := watch(open, conn); fault.Is(err, fault.Exhausted) {
			rejected++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if rejected != 1000-128 {
		t.Errorf("got %d rejections, want %d", rejected, 1000-128)
	}
	if err := list(bounded(t), conn); err != nil {
		t.Errorf("other call: got error %v", err)
	}

	// Closed subscriptions free their places.
	disconnect()
	for err := watch(bounded(t), conn); err != nil; err = watch(bounded(t), conn) {
		if !fault.Is(err, fault.Exhausted) {
			t.Fatal(err)
		}
	}
}
