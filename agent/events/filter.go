package events

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/filter"
)

// Filter selects events.
type Filter struct{ values filter.Values }

// ParseFilter parses KEY=VALUE filters. Values of one key are alternatives; labels must all match.
func ParseFilter(specs []string) (*Filter, error) {
	keys := map[string]filter.Check{}
	for _, key := range []string{"type", "event", "container", "network", "image", "volume", "label", "daemon",
		"scope"} {
		keys[key] = nil
	}
	values, err := filter.Parse(specs, keys, "type, event, container, network, image, volume or label")
	return &Filter{values}, err
}

// Fits reports whether an event matches. A nil Filter matches all.
func (f *Filter) Fits(e Event) bool {
	if f == nil {
		return true
	}
	v := f.values
	for _, kind := range []string{Container, Network, Volume} {
		if !v.Any(kind, func(value string) bool { return e.Type == kind && e.isOf(value, "name") }) {
			return false
		}
	}
	return v.Any("type", func(value string) bool { return e.Type == value }) &&
		v.Any("event", e.isAction) &&
		v.Any(Image, e.isOfImage) &&
		v.Any("scope", func(value string) bool { return value == "local" }) &&
		v.Any("daemon", func(string) bool { return e.Type == "daemon" }) &&
		(!v.Has("label") || e.Type != Network && v.Labels(e.Attributes))
}

// isAction reports whether an event has an action: as a whole, or without what follows a colon.
func (e Event) isAction(value string) bool {
	bare, _, _ := strings.Cut(e.Action, ":") // of "exec_start: COMMAND"
	return value == e.Action || value == bare
}

// isOf reports whether a value is the name of the object or a prefix of its ID.
func (e Event) isOf(value, attribute string) bool {
	return value != "" && (e.Attributes[attribute] == value || strings.HasPrefix(e.ID, value))
}

// isOfImage reports whether an event is of an image or of a container of one, with or without its tag.
func (e Event) isOfImage(value string) bool {
	names := []string{e.Attributes["image"]}
	if e.Type == Image {
		names = []string{e.Attributes["name"], e.ID}
		if value != "" && strings.HasPrefix(strings.TrimPrefix(e.ID, "sha256:"), strings.TrimPrefix(value, "sha256:")) {
			return true
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return name != "" && (name == value || withoutTag(name) == value)
	})
}

func withoutTag(name string) string {
	if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
		return name[:at]
	}
	return name
}
