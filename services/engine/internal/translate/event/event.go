// Package event translates events, and selects them by filters. It performs no I/O.
package event

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Message is an event. The first three fields are those of version 1.21, which version 1.52 removed.
type Message struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	events.Message
}

// FromProto returns the document of an event.
func FromProto(e *eventv1.Event, v apiversion.Version) *Message {
	at := e.GetTime().AsTime()
	out := &Message{Message: events.Message{Type: events.Type(e.GetType()), Action: events.Action(e.GetAction()),
		Actor: events.Actor{ID: e.GetId(), Attributes: e.GetAttributes()}, Scope: "local", Time: at.Unix(),
		TimeNano: at.UnixNano()}}
	if out.Actor.Attributes == nil {
		out.Actor.Attributes = map[string]string{}
	}
	if name, ok := out.Actor.Attributes["oldName"]; ok && out.Type == events.ContainerEventType {
		out.Actor.Attributes = maps.Clone(out.Actor.Attributes)
		out.Actor.Attributes["oldName"] = "/" + name // Docker has no slash before other names
	}
	if v.Before(52) {
		switch out.Type {
		case events.ContainerEventType:
			out.Status, out.ID, out.From = e.GetAction(), e.GetId(), e.GetAttributes()["image"]
		case events.ImageEventType:
			out.Status, out.ID = e.GetAction(), e.GetId()
		}
	}
	return out
}

// Keys are the keys of filters.
func Keys() []string {
	return []string{"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope",
		"secret", "service", "type", "volume"}
}

// Matches reports whether an event matches filters.
func Matches(f httpapi.Filters, e *eventv1.Event) bool {
	for _, kind := range []string{"config", "container", "daemon", "network", "node", "plugin", "secret", "service",
		"volume"} {
		if len(f[kind]) > 0 && (e.GetType() != kind || !f.Any(kind, func(v string) bool { return isActor(e, v) })) {
			return false
		}
	}
	return f.Exact("type", e.GetType()) && f.Exact("scope", "local") &&
		f.Labels("label", e.GetAttributes()) &&
		f.Any("event", func(v string) bool { return isAction(e.GetAction(), v) }) &&
		f.Any("image", func(v string) bool { return isImage(e, v) })
}

// isActor reports whether the object of an event has a name, ID or ID prefix.
func isActor(e *eventv1.Event, value string) bool {
	return e.GetId() == value || e.GetAttributes()["name"] == value || value != "" && strings.HasPrefix(e.GetId(),
		value)
}

// isAction reports whether an action is the given one. Some actions have details after a colon.
func isAction(action, value string) bool {
	return action == value || strings.HasPrefix(action, value+":")
}

// isImage reports whether an event concerns an image, given by name or ID.
func isImage(e *eventv1.Event, value string) bool {
	names := []string{e.GetAttributes()["image"]}
	if e.GetType() == string(events.ImageEventType) {
		names = []string{e.GetId(), e.GetAttributes()["name"]}
	}
	return slices.ContainsFunc(names, func(name string) bool { return name == value || withoutTag(name) == value })
}

// withoutTag removes the tag of an image.
func withoutTag(name string) string {
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i]
	}
	return name
}
