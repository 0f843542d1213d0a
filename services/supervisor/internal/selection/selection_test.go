package selection_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/selection"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// images are stored images: nginx, and one that was made from it.
type images struct{}

func (images) Resolve(ref, _ string) (*store.Image, error) {
	switch ref {
	case "nginx", "sha256:aa", "aa":
		return &store.Image{ID: "sha256:aa", Layers: []string{"l1"}}, nil
	case "child", "sha256:cc":
		return &store.Image{ID: "sha256:cc", Layers: []string{"l1", "l2"}}, nil
	}
	return nil, fault.NotFoundf("image", "No such image: %s", ref)
}

// all are containers, newest first: web runs, child is paused and healthy, old has exited, new was created.
func all() []*container.Container {
	p80, _ := port.ParseExposed("443")
	at := time.Unix(1e9, 0)
	return []*container.Container{
		{ID: "d4d4", CreatedAt: at.Add(4), Status: container.Created, ImageID: "sha256:bb",
			Config: container.Config{Name: "new", Image: "busybox:1", Network: container.Network{Mode: "backend",
				Attachments: []container.Attachment{{Network: "backend"}}}}},
		{ID: "a1a1", CreatedAt: at.Add(3), Status: container.Running, ImageID: "sha256:aa",
			Config: container.Config{Name: "web", Image: "nginx:latest", Mounts: []container.Mount{{
				Type: container.VolumeMount, Source: "data", Target: "/data"}}},
			Process: container.Process{Labels: map[string]string{"tier": "front", "a": "b"},
				Exposed: []port.Exposed{p80}},
			Live: &container.RunState{Endpoints: []container.Endpoint{{NetworkName: "bridge", NetworkID: "1d1d1d"}},
				Bindings: []port.Binding{{Protocol: port.TCP, Host: port.Range{First: 8080, Last: 8090},
					Container: port.Range{First: 80, Last: 90}}}}},
		{ID: "c3c3", CreatedAt: at.Add(2), Status: container.Running, ImageID: "sha256:cc",
			Config: container.Config{Name: "child", Image: "child"},
			Live:   &container.RunState{Paused: true}, Health: &healthcheck.Health{Status: healthcheck.Healthy}},
		{ID: "b2b2", CreatedAt: at, Status: container.Exited, ExitCode: 3, ImageID: "sha256:bb",
			Config: container.Config{Name: "old", Image: "busybox"}},
	}
}

func TestContainerFiltersMatchDocker(t *testing.T) {
	for filters, want := range map[string]string{
		"":         "new web child old",
		"name=^we": "web", "name=web name=/old": "web old", "id=b2": "old", "label=tier": "web",
		"label=tier=front label=a": "web", "label=tier label=x": "",
		"status=paused": "child", "status=created status=exited": "new old", "exited=3": "old", "exited=0": "",
		"health=none": "new web old", "health=healthy": "child", "is-task=false": "new web child old", "is-task=1": "",
		"isolation=default": "new web child old", "isolation=hyperv": "",
		"network=bridge": "web", "network=1d1d": "web", "network=backend": "new", "network=other": "",
		"volume=data": "web", "volume=/data": "web", "volume=/x": "",
		"publish=8080": "web", "publish=80": "web", "publish=8085-9000": "web", "publish=8080/udp": "",
		"publish=443": "",
		"expose=443":  "web", "expose=80": "web", "expose=443/udp": "",
		"ancestor=nginx": "web child", "ancestor=docker.io/library/nginx:latest": "web", "ancestor=aa": "web child",
		"ancestor=child": "child", "ancestor=busybox": "old", "ancestor=nginx:1": "",
		"before=web": "child old", "since=old": "new web child", "since=web": "new", "before=web since=old": "child",
		"before=child before=web": "child old", "since=c3": "new web",
	} {
		s, err := selection.ParseContainers(strings.Fields(filters), images{})
		if err != nil {
			t.Fatal(err)
		}
		s.All = true
		got, err := s.Select(all())
		if names := namesOf(got); err != nil || names != want {
			t.Errorf("%s: got %q, %v; want %q", filters, names, err, want)
		}
	}
}

func namesOf(list []*container.Container) string {
	var names []string
	for _, c := range list {
		names = append(names, c.Config.Name)
	}
	return strings.Join(names, " ")
}

func TestStoppedContainersAndLimit(t *testing.T) {
	for _, tc := range []struct {
		filters string
		all     bool
		limit   int
		want    string
	}{
		{"", false, 0, "web child"}, {"", true, 0, "new web child old"}, {"", false, 2, "new web"},
		{"", true, 9, "new web child old"}, {"status=exited", false, 0, "old"}, {"exited=3", false, 0, "old"},
		{"before=web", false, 0, "child"}, {"before=web", false, 1, "child"}, {"name=o", false, 1, "old"},
	} {
		s, err := selection.ParseContainers(strings.Fields(tc.filters), images{})
		if err != nil {
			t.Fatal(err)
		}
		s.All, s.Limit = tc.all, tc.limit
		if got, err := s.Select(all()); err != nil || namesOf(got) != tc.want {
			t.Errorf("%+v: got %q, %v", tc, namesOf(got), err)
		}
	}
}

func TestWrongContainerFiltersAreRefused(t *testing.T) {
	for spec, want := range map[string]string{
		"x": "bad format of filter", "nosuch=1": "invalid filter 'nosuch'",
		"status=asleep": "invalid filter 'status=asleep'",
		"publish=x":     `"x" is not a valid port range`, "name=[": "error parsing regexp", "exited=x": "invalid syntax",
		"before=nosuch": "No such container: nosuch", "health=ill": "invalid filter 'health=ill'",
	} {
		s, err := selection.ParseContainers([]string{spec}, images{})
		if err == nil {
			_, err = s.Select(all())
		}
		if err == nil || !strings.HasPrefix(err.Error(), "filter "+spec+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", spec, err, want)
		}
	}
}

func TestVolumeFilters(t *testing.T) {
	list := []*volume.Volume{{Name: "data", Driver: "local", Labels: map[string]string{"a": "b"}}, {Name: "other",
		Driver: "local"}}
	users := func(name string) []string {
		if name == "data" {
			return []string{"web"}
		}
		return nil
	}
	for filters, want := range map[string]string{"": "data other", "name=at": "data", "label=a=b": "data",
		"label=a=c":    "",
		"driver=local": "data other", "driver=nfs": "", "dangling=true": "other", "dangling=0": "data"} {
		s, err := selection.ParseVolumes(strings.Fields(filters))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range list {
			if s.Fits(v, users) {
				got = append(got, v.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %q", filters, got, want)
		}
	}
	if _, err := selection.ParseVolumes([]string{"dangling=maybe"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseContainers(f *testing.F) {
	for _, s := range []string{"publish=1-2/udp", "exited=-1", "status=running", "before=", "name=a|b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := selection.ParseContainers([]string{spec}, images{})
		if err == nil {
			_, err = s.Select(all())
		}
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: got %v", spec, err)
		}
	})
}
