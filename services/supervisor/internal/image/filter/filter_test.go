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
	for _, spec := range []string{"until", "until=x", "until!=1h", "nosuch=1", "dangling=maybe", "label"} {
		_, err := filter.Parse([]string{spec}, time.Now(), filter.Until, filter.Label, filter.Dangling)
		if err == nil || !strings.HasPrefix(err.Error(), "filter "+spec+": ") {
			t.Errorf("%s: got %v", spec, err)
		}
	}
}
