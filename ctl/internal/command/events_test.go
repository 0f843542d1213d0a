package command_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// someEvents returns events of two services that alternate in time.
func someEvents() clienttest.Script {
	event := func(kind, action, id string, second time.Duration, attributes map[string]string) *eventv1.Event {
		return &eventv1.Event{Time: ago(10*time.Second - second), Type: kind, Action: action, Id: id,
			Attributes: attributes}
	}
	return clienttest.Script{
		"WatchEvents": {{Serve: func(first proto.Message, s clienttest.Stream) error {
			if _, networks := first.(*networkv1.WatchEventsRequest); networks {
				return s.Send(&networkv1.WatchEventsResponse{Event: event("network", "create", "n1n1", 1,
					map[string]string{"name": "back", "type": "bridge"})})
			}

			for _, e := range []*eventv1.Event{
				event("container", "create", "c1c1", 0,
					map[string]string{"name": "web", "image": "nginx", "tier": "front"}),
				event("container", "start", "c1c1", 2,
					map[string]string{"name": "web", "image": "nginx", "tier": "front"}),
				event("container", "exec_start: sh -c true", "c2c2", 3,
					map[string]string{"name": "db", "image": "pg2"}),
				event("container", "start", "c2c2", 3, map[string]string{"name": "db", "image": "pg"}),
			} {
				if err := s.Send(&containerv1.WatchEventsResponse{Event: e}); err != nil {
					return err
				}
			}

			return nil
		}}},
	}
}

func TestEventsOfServicesAreMergedInOrder(t *testing.T) {
	const short = " --format '{{.Action}}:{{.Actor.Attributes.name}}'"
	stamp := func(second time.Duration) string {
		return now.Add(second - 10*time.Second).Local().Format("2006-01-02T15:04:05.000000000Z07:00")
	}
	checkAll(t, []row{
		{args: "events" + short, script: someEvents(),
			stdout: "create:web\ncreate:back\nstart:web\nexec_start: sh -c true:db\nstart:db\n"},
		{args: "events -f type=network", script: someEvents(), stdout: stamp(1) +
			" network create n1n1 (name=back, type=bridge)\n"},
		{args: "events -f container=c1 -f event=start", script: someEvents(), stdout: stamp(2) +
			" container start c1c1 (image=nginx, name=web, tier=front)\n"},
		{args: "events -f container=web -f container=db -f event=start" + short, script: someEvents(),
			stdout: "start:web\nstart:db\n"},
		{args: "events -f network=back" + short, script: someEvents(), stdout: "create:back\n"},
		{args: "events -f event=exec_start" + short, script: someEvents(), stdout: "exec_start: sh -c true:db\n"},
		{args: "events -f 'event=exec_start: sh -c true'" + short, script: someEvents(),
			stdout: "exec_start: sh -c true:db\n"},
		{args: "events -f event=exec_start:", script: someEvents()},
		{args: "events -f image=pg" + short, script: someEvents(), stdout: "start:db\n"},
		{args: "events -f label=tier -f event=create" + short, script: someEvents(), stdout: "create:web\n"},
		{args: "events -f label=tier=back", script: someEvents()},
		{args: "events -f label=tier=front -f label=nosuch", script: someEvents()},
		{args: "events -f nosuch=1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --filter nosuch=1: invalid filter 'nosuch'; use type, event, container, network, " +
				"image or label; see 'fairlead events --help'\n"},
		{args: "events -f type", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --filter type: bad format of filter (expected name=value); see 'fairlead events " +
				"--help'\n"},
		{args: "events --until never", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --until never: not a time\n"},
		{args: "events", code: 1,
			script: clienttest.Script{"WatchEvents": {clienttest.Fails(fault.New(fault.Exhausted, "events",
				"you were too slow"))}},
			stderr: "fairlead: events: you were too slow\n"},
	})
}

func TestEventsSinceAndUntil(t *testing.T) {
	got := execute(t, row{args: "events --since 10m --until 1790000000", script: someEvents()})
	since, until := ago(10*time.Minute), timestamppb.New(now)
	if len(got.requests) != 2 {
		t.Fatalf("asked %v", got.requests)
	}

	for _, req := range got.requests {
		span := req.(interface {
			GetSince() *timestamppb.Timestamp
			GetUntil() *timestamppb.Timestamp
		})
		if !proto.Equal(span.GetSince(), since) || !proto.Equal(span.GetUntil(), until) {
			t.Errorf("asked %v", req)
		}
	}
}
