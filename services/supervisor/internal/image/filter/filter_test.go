package filter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/filter"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

func TestMatch(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	img := &store.Image{CreatedAt: now.Add(-time.Hour),
		Config: []byte(`{"config":{"Labels":{"env":"test","empty":""}}}`)}
	for spec, want := range map[string]bool{
		"": true, "until=30m": true, "until=2h": false, "until=2026-05-01T11:30:00Z": true,
		"until=1577836800": false, "until=30m until=2h": false,
		"label=env": true, "label=env=test": true, "label=env=prod": false, "label=env label=none": false,
		"label=empty=": true, "label!=env": false, "label!=env=prod": true, "label!=none": true,
		"dangling=false": true,
	} {
		f, err := filter.Parse(strings.Fields(spec), now, filter.Until, filter.Label, filter.Dangling)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if got := f.Match(img); got != want {
			t.Errorf("%s: got %v, want %v", spec, got, want)
		}
	}
}

func TestParseRejects(t *testing.T) {
	for _, spec := range []string{"until", "until=x", "until!=1h", "nosuch=1", "dangling=maybe", "label",
		"reference=["} {
		_, err := filter.Parse([]string{spec}, time.Now(), filter.Until, filter.Label, filter.Dangling,
			filter.Reference)
		if err == nil || !strings.HasPrefix(err.Error(), "filter "+spec+": ") {
			t.Errorf("%s: got %v", spec, err)
		}
	}
}

func TestSelect(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	digest := "docker.io/library/nginx@sha256:" + strings.Repeat("a", 64)
	img := &store.Image{CreatedAt: now, Digests: []string{digest},
		Tags: []string{"docker.io/library/nginx:latest", "docker.io/library/nginx:1", "r.example/team/web:2"}}
	for spec, want := range map[string]int{"": 3, "reference=nginx": 2, "reference=ngi*:l*": 1,
		"reference=r.example/*/*": 1,
		"reference=web":           -1, "reference=nginx:1 reference=*/team/web": 2, "dangling=true": -1,
		"dangling=false": 3} {
		f, err := filter.Parse(strings.Fields(spec), now, filter.Reference, filter.Dangling)
		if err != nil {
			t.Fatal(err)
		}
		got := f.Select(img)
		if got == nil && want >= 0 || got != nil && len(got.Tags) != want {
			t.Errorf("%s: got %v, want %d tags", spec, got, want)
		}
	}

	f, err := filter.Parse([]string{"before=x", "since=y"}, now, filter.Before, filter.Since)
	if err != nil || len(f.Before) != 1 || len(f.Since) != 1 {
		t.Fatalf("got %+v, %v", f, err)
	}
	f.CreatedBefore(now.Add(time.Second))
	f.CreatedSince(now.Add(-time.Second))
	if f.Select(img) == nil {
		t.Error("an image between both times does not match")
	}
	f.CreatedSince(now)
	if f.Select(img) != nil {
		t.Error("an image is not created since itself")
	}
}
