package server_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/server"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// WatchEvents sends one message and then nothing until the client leaves.
func (n *names) WatchEvents(_ *containerv1.WatchEventsRequest,
	s grpc.ServerStreamingServer[containerv1.WatchEventsResponse]) error {
	if err := s.Send(&containerv1.WatchEventsResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

// watch subscribes, and reports how that went.
func watch(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := containerv1.NewContainerServiceClient(conn).WatchEvents(ctx, &containerv1.WatchEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return faultrpc.FromStatus(err)
}

func TestSubscribersThatDoNotReadFailAlone(t *testing.T) {
	s, conn, _ := start(t, server.Admins, &names{list: func(context.Context) error { return nil }})
	s.Ready()
	held, leave := context.WithCancel(bounded(t))
	defer leave()
	refused := 0
	for range 1000 {
		if err := watch(held, conn); fault.Is(err, fault.Exhausted) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 1000-128 {
		t.Errorf("got %d refusals, want %d", refused, 1000-128)
	}
	if err := list(bounded(t), conn); err != nil {
		t.Errorf("another call: %v", err)
	}

	// With their end there is room again.
	leave()
	for err := watch(bounded(t), conn); err != nil; err = watch(bounded(t), conn) {
		if !fault.Is(err, fault.Exhausted) {
			t.Fatal(err)
		}
	}
}
