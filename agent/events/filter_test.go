package events_test

import (
	"testing"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
)

func TestFilterSelectsEvents(t *testing.T) {
	container := events.Event{Type: events.Container, Action: "exec_start: sh -c x", ID: "c1c1",
		Attributes: map[string]string{"name": "web", "image": "r.example:5000/app:1", "tier": "front"}}
	network := events.Event{Type: events.Network, Action: "connect", ID: "n1n1",
		Attributes: map[string]string{"name": "web", "tier": "front"}}
	image := events.Event{Type: events.Image, Action: "pull", ID: "sha256:abcd",
		Attributes: map[string]string{"name": "app:1"}}
	volume := events.Event{Type: events.Volume, Action: "mount", ID: "data"}
	for _, tc := range []struct {
		specs []string
		want  []events.Event
	}{
		{nil, []events.Event{container, network, image, volume}},
		{[]string{"type=network", "type=image"}, []events.Event{network, image}},
		{[]string{"event=exec_start"}, []events.Event{container}},
		{[]string{"event=exec_start: sh -c x"}, []events.Event{container}},
		{[]string{"event=exec"}, nil},
		{[]string{"container=web"}, []events.Event{container}},
		{[]string{"container=c1"}, []events.Event{container}},
		{[]string{"network=web"}, []events.Event{network}},
		{[]string{"volume=data"}, []events.Event{volume}},
		{[]string{"image=r.example:5000/app"}, []events.Event{container}},
		{[]string{"image=app"}, []events.Event{image}},
		{[]string{"image=abc"}, []events.Event{image}},
		{[]string{"label=tier=front"}, []events.Event{container}},
		{[]string{"label=tier", "label=other"}, nil},
		{[]string{"scope=local", "type=volume"}, []events.Event{volume}},
		{[]string{"scope=swarm"}, nil},
	} {
		f, err := events.ParseFilter(tc.specs)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range []events.Event{container, network, image, volume} {
			if f.Fits(e) {
				got = append(got, e.Type)
			}
		}
		var want []string
		for _, e := range tc.want {
			want = append(want, e.Type)
		}
		if len(got) != len(want) {
			t.Errorf("%q: got %v, want %v", tc.specs, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: got %v, want %v", tc.specs, got, want)
			}
		}
	}
	if _, err := events.ParseFilter([]string{"nosuch=1"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("image=a:b", "a:b")
	f.Add("container=", "")
	f.Fuzz(func(t *testing.T, spec, name string) {
		v, err := events.ParseFilter([]string{spec})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: got %v", spec, err)
			}
			return
		}
		for _, kind := range []string{events.Container, events.Image, "other"} {
			v.Fits(events.Event{Type: kind, Action: name, ID: name, Attributes: map[string]string{"name": name,
				"image": name}})
		}
	})
}
