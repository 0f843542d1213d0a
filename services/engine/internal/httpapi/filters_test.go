package httpapi_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

func TestFiltersInBothEncodings(t *testing.T) {
	for _, text := range []string{`{"label":{"a":true,"b=c":true,"off":false}}`, `{"label":["a","b=c"]}`} {
		f, err := httpapi.ParseFilters(text, "label", "name")
		if err != nil || !slices.Equal(f["label"], []string{"a", "b=c"}) {
			t.Errorf("%s: got %v, %v", text, f, err)
		}
		if !f.Labels("label", map[string]string{"a": "", "b": "c"}) || f.Labels("label", map[string]string{"a": ""}) {
			t.Errorf("%s: labels match wrongly", text)
		}
		if f.NoLabels("label", map[string]string{"a": ""}) || !f.NoLabels("label", map[string]string{"b": "d"}) {
			t.Errorf("%s: excluded labels match wrongly", text)
		}
	}
}

func TestWrongFilters(t *testing.T) {
	for text, want := range map[string]string{
		`{`:             `invalid filter: "{" is not a JSON object`,
		`{"nosuch":[]}`: `invalid filter 'nosuch'`,
		`{"label":1}`:   `invalid filter: key "label" needs values, as {"label": {"VALUE": true}} or {"label": ["VALUE"]}`,
	} {
		if _, err := httpapi.ParseFilters(text, "label"); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestBoolFilters(t *testing.T) {
	for text, want := range map[string]string{`{"d":["true","1"]}`: "true", `{"d":["0"]}`: "false", `{}`: "nil",
		`{"d":["true","false"]}`: "error", `{"d":["x"]}`: "error"} {
		f, err := httpapi.ParseFilters(text, "d")
		if err != nil {
			t.Fatal(err)
		}
		got := "nil"
		switch b, err := f.Bool("d"); {
		case err != nil:
			got = "error"
		case b != nil && *b:
			got = "true"
		case b != nil:
			got = "false"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"1700000000": "2023-11-14T22:13:20Z", "1700000000.5": "2023-11-14T22:13:20.5Z",
		"10m": "2026-11-01T11:50:00Z", "2026-10-01T01:02:03Z": "2026-10-01T01:02:03Z",
		"2026-10-01":           "2026-10-01T00:00:00Z",
		"1700000000.000000001": "2023-11-14T22:13:20.000000001Z",
	} {
		if got, err := httpapi.ParseTime(text, now); err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "1700000000.0000000001", "99999999999999", "1.x"} {
		if got, err := httpapi.ParseTime(text, now); err == nil {
			t.Errorf("%s: got %v, want an error", text, got)
		}
	}
}
