package event_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/event"
)

func die() *eventv1.Event {
	return &eventv1.Event{Time: timestamppb.New(time.Unix(1700000000, 5)), Type: "container", Action: "die", Id: "aaaa",
		Attributes: map[string]string{"name": "web", "image": "nginx:1", "exitCode": "0", "team": "x"}}
}

func TestEventOfVersions(t *testing.T) {
	doc := event.FromProto(die(), apiversion.Max)
	apitest.Validate(t, "GET /events", 200, doc)
	if text := apitest.Text(t, doc); bytes.Contains(text, []byte(`"status"`)) {
		t.Errorf("got %s, want no status", text)
	}
	old := event.FromProto(die(), apiversion.V(51))
	if old.Status != "die" || old.ID != "aaaa" || old.From != "nginx:1" || old.TimeNano != 1700000000000000005 {
		t.Errorf("version 1.51: got %+v", old)
	}
}

func TestFormerNameHasSlash(t *testing.T) {
	e := &eventv1.Event{Type: "container", Action: "rename", Attributes: map[string]string{"name": "b", "oldName": "a"}}
	got := event.FromProto(e, apiversion.Max).Actor.Attributes
	if got["oldName"] != "/a" || got["name"] != "b" || e.Attributes["oldName"] != "a" {
		t.Errorf("got %v", got)
	}
}

func TestMatches(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true, `{"container":["web"]}`: true, `{"container":["aa"]}`: true, `{"container":["other"]}`: false,
		`{"network":["web"]}`: false, `{"type":["container","image"]}`: true, `{"type":["image"]}`: false,
		`{"event":["die"]}`: true, `{"event":["start"]}`: false, `{"image":["nginx"]}`: true,
		`{"image":["nginx:1"]}`: true,
		`{"image":["pg"]}`:      false, `{"label":["team=x"]}`: true, `{"label":["team=y"]}`: false,
		`{"scope":["swarm"]}`: false,
	} {
		f, err := httpapi.ParseFilters(text, event.Keys()...)
		if err != nil || event.Matches(f, die()) != want {
			t.Errorf("%s: got %v, %v, want %v", text, !want, err, want)
		}
	}
	exec := &eventv1.Event{Type: "container", Action: "exec_create: sh -c x"}
	if f, _ := httpapi.ParseFilters(`{"event":["exec_create"]}`, "event"); !event.Matches(f, exec) {
		t.Error("exec_create does not match its command")
	}
}
