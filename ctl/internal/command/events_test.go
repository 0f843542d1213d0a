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
)

// someEvents returns events of two services.
func someEvents() clienttest.Script {
	event := func(kind, action, id string, second time.Duration, attributes map[string]string) *eventv1.Event {
		return &eventv1.Event{Time: ago(10*time.Second - second), Type: kind, Action: action, Id: id,
			Attributes: attributes}
	}
	return clienttest.Script{
		"WatchEvents": {{Serve: func(first proto.Message, s clienttest.Stream) error {
			for _, e := range []*eventv1.Event{
				event("container", "create", "c1c1", 0,
					map[string]string{"name": "web", "image": "nginx", "tier": "front"}),
				event("network", "create", "n1n1", 1, map[string]string{"name": "back", "type": "bridge"}),
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

func TestEventsAreFilteredByAgent(t *testing.T) {
	const short = " --format '{{.Action}}:{{.Actor.Attributes.name}}'"
	stamp := func(second time.Duration) string {
		return now.Add(second - 10*time.Second).Local().Format("2006-01-02T15:04:05.000000000Z07:00")
	}
	checkAll(t, []row{
		{args: "events" + short, script: someEvents(),
			stdout: "create:web\ncreate:back\nstart:web\nexec_start: sh -c true:db\nstart:db\n"},
		{args: "events -f type=network -f label=a", script: clienttest.Script{"WatchEvents": {clienttest.Answers(
			&containerv1.WatchEventsResponse{Event: &eventv1.Event{Time: ago(10*time.Second - 1), Type: "network",
				Action: "create", Id: "n1n1", Attributes: map[string]string{"name": "back", "type": "bridge"}}})}},
			stdout: stamp(1) + " network create n1n1 (name=back, type=bridge)\n",
			requests: []proto.Message{&containerv1.WatchEventsRequest{All: true,
				Filters: []string{"type=network", "label=a"}}}},
		{args: "events -f nosuch=1", code: 1, script: clienttest.Script{"WatchEvents": {clienttest.Fails(
			fault.Invalidf("filter nosuch=1", "filters", "invalid filter 'nosuch'"))}},
			stderr: "fairlead: --filter nosuch=1: invalid filter 'nosuch'; see 'fairlead events --help'\n"},
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
	if len(got.requests) != 1 {
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
