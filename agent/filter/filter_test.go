package filter_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/filter"
	"github.com/fairlead/fairlead/proto/fault"
)

func keys() map[string]filter.Check {
	return map[string]filter.Check{"label": nil, "name": filter.Pattern, "status": filter.OneOf("status", "up", "down"),
		"dangling": filter.Boolean("dangling")}
}

func TestParseChecksKeysAndValues(t *testing.T) {
	for spec, want := range map[string]string{
		"label=a=b": "", "name=^x": "", "status=up": "", "dangling=1": "", "dangling=false": "",
		"x":              "filter x: bad format of filter (expected name=value)",
		"nosuch=1":       "filter nosuch=1: invalid filter 'nosuch'; use a key",
		"status=asleep":  "filter status=asleep: invalid filter 'status=asleep'; use up or down",
		"dangling=maybe": "filter dangling=maybe: invalid filter 'dangling=maybe'; use true or false",
		"name=[":         "filter name=[: error parsing regexp",
	} {
		_, err := filter.Parse([]string{spec}, keys(), "a key")
		if want == "" && err == nil {
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), want) || want == "" {
			t.Errorf("%s: got %v, want %q", spec, err, want)
		}
	}
}

// Values of one key are alternatives; labels must all match.
func TestValuesAreAlternativesExceptLabels(t *testing.T) {
	v, err := filter.Parse([]string{"name=a", "name=^b", "label=x", "label=y=1"}, keys(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "ab": true, "cb": false} {
		if got := v.Any("name", func(p string) bool { return filter.Matches(p, name) }); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if !v.Any("status", func(string) bool { return false }) || v.Has("status") || !v.Has("status", "name") {
		t.Error("a key without values does not match")
	}
	for _, tc := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"x": "", "y": "1"}, true}, {map[string]string{"x": "", "y": "2"}, false},
		{map[string]string{"y": "1"}, false}, {nil, false},
	} {
		if got := v.Labels(tc.labels); got != tc.want {
			t.Errorf("%v: got %v", tc.labels, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"label=a", "name=(", "=", "", "status=up"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		v, err := filter.Parse([]string{spec}, keys(), "")
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v", spec, err)
		}
		if err == nil && len(v) != 1 {
			t.Errorf("%q: got %v", spec, v)
		}
	})
}
