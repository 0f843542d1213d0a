package logdriver

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestErrorsHaveSubjectAndRemedy(t *testing.T) {
	const size = "write a size of at least 64k, such as 10m, or -1 for no limit"
	const known = "use max-size or max-file, or with json-file labels, labels-regex, env, env-regex or tag"
	for want, l := range map[string]Config{
		"log driver syslog is not supported: logs are files that `fairlead logs` reads; " +
			"use json-file, local, journald or none": {Driver: "syslog"},
		"logger: no log driver named 'JSON-file' is registered; use json-file, local, journald or none": {
			Driver: "JSON-file"},
		"invalid logging opts for driver none; omit --log-opt": {Driver: None,
			Options: map[string]string{MaxFile: "2"}},
		"invalid max-size: '10 m'; " + size:   {Options: map[string]string{MaxSize: "10 m"}},
		"invalid max-size: '0'; " + size:      {Driver: Local, Options: map[string]string{MaxSize: "0"}},
		"invalid max-size: '65535b'; " + size: {Options: map[string]string{MaxSize: "65535b"}},
		"invalid max-size: '1.5m'; " + size:   {Options: map[string]string{MaxSize: "1.5m"}},
		"invalid max-size: 'kb'; " + size:     {Options: map[string]string{MaxSize: "kb"}},
		"unknown log opt 'size' for json-file log driver; " + known: {Driver: JSONFile,
			Options: map[string]string{"size": "1m"}},
		"unknown log opt 'tag' for local log driver; " + known: {Driver: Local,
			Options: map[string]string{Tag: "{{.ID}}"}},
		"invalid max-file: '1.0'; write a number from 1 to 100": {Options: map[string]string{MaxFile: "1.0"}},
		"invalid labels-regex: error parsing regexp: missing closing ): `(`; correct --log-opt labels-regex": {
			Options: map[string]string{LabelsRegex: "("}},
		// The first option by name is reported.
		"invalid max-file: '0'; write a number from 1 to 100": {
			Options: map[string]string{MaxSize: "x", MaxFile: "0"}},
	} {
		f, ok := l.Validate("container web").(*fault.Fault)
		if !ok || f.Kind != fault.Invalid || f.Field != "log-driver" || f.Error() != "container web: "+want {
			t.Errorf("%+v: got  %v\nwant container web: %s", l, f, want)
		}
	}
}

func TestEveryNamedDriverIsValid(t *testing.T) {
	for _, name := range append(Names(), "") {
		if err := (Config{Driver: name}).Validate("container web"); err != nil {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestLogSizeRoundTrips formats a size in each unit and case, and compares the parsed size.
func TestLogSizeRoundTrips(t *testing.T) {
	units := map[string]int64{"": 1, "b": 1, "B": 1, "k": 1 << 10, "K": 1 << 10, "kb": 1 << 10, "m": 1 << 20,
		"MB": 1 << 20, "g": 1 << 30, "Gb": 1 << 30}
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"", "b", "B", "k", "K", "kb", "m", "MB", "g", "Gb"}).Draw(t, "unit")
		number := rapid.Int64Range(0, 1<<32).Draw(t, "number")
		text, want := fmt.Sprint(number, unit), number*units[unit]
		text = strings.ReplaceAll(text, " ", "")
		l := Config{Options: map[string]string{MaxSize: text}}
		if got, ok := l.Size(); (got != want && want >= minLogSize) || !ok {
			t.Fatalf("%s: got %d, %v, want %d", text, got, ok, want)
		}
		if valid := l.Validate("container web") == nil; valid != (want >= 64<<10) {
			t.Fatalf("%s: valid is %v for %d bytes", text, valid, want)
		}
	})
}

func TestFilesWithoutOption(t *testing.T) {
	if n, ok := (Config{Options: map[string]string{MaxSize: "1m"}}).Files(); ok || n != 0 {
		t.Errorf("got %d, %v without max-file", n, ok)
	}
	if n, ok := (Config{Options: map[string]string{MaxFile: "7"}}).Files(); !ok || n != 7 {
		t.Errorf("got %d, %v, want 7", n, ok)
	}
}

func TestTagTemplateFields(t *testing.T) {
	s := Subject{ContainerID: "0123456789abcdef", ContainerName: "web", ContainerImageName: "nginx:1",
		ContainerImageID: "sha256:fedcba9876543210", ContainerEntrypoint: "nginx", ContainerArgs: []string{"-g", "x"},
		ContainerHostname: "h1", DaemonName: "fairlead", ContainerEnv: []string{"A=1"},
		ContainerLabels: map[string]string{"tier": "db"}}
	for text, want := range map[string]string{
		"{{.ID}}": "0123456789ab", "{{.FullID}}": "0123456789abcdef", "{{.Name}}": "web",
		"{{.ImageID}}": "fedcba987654", "{{.ImageFullID}}": "sha256:fedcba9876543210", "{{.ImageName}}": "nginx:1",
		"{{.Hostname}}": "h1", "{{.Command}}": "nginx -g x", "{{.DaemonName}}": "fairlead",
		"{{index .ContainerLabels \"tier\"}}": "db", "{{len .ContainerEnv}}": "1", "plain": "plain",
	} {
		c := Config{Options: map[string]string{Tag: text}}
		if err := c.Validate("container web"); err != nil {
			t.Errorf("%s: got %v", text, err)
		}
		if got := tagOf(c, s, "{{.ID}}"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for _, c := range []Config{{}, {Options: map[string]string{Tag: ""}}} {
		if got := tagOf(c, s, "{{.Name}}/{{.ID}}"); got != "web/0123456789ab" {
			t.Errorf("%+v: got %q, want the standard tag", c, got)
		}
	}
}

func TestShortIDsOfAnyLength(t *testing.T) {
	for id, want := range map[string]string{"": "", "abc": "abc", "sha256:": "", "sha256:ab": "ab",
		"0123456789abc": "0123456789ab"} {
		if got := (Subject{ContainerID: id}).ID(); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

// TestDetailsParseBack decodes the details as a client does and compares them with the attributes.
func TestDetailsParseBack(t *testing.T) {
	word := rapid.StringMatching(`[a-c=,&% ü]{1,5}`)
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.MapOfN(word, word, 0, 6).Draw(t, "labels")
		c := Config{Options: map[string]string{LabelsRegex: "a"}}
		want := maps.Clone(labels)
		maps.DeleteFunc(want, func(k, _ string) bool { return !strings.Contains(k, "a") })

		got := map[string]string{}
		for pair := range strings.SplitSeq(Details(c, Subject{ContainerLabels: labels}), ",") {
			if pair == "" {
				continue
			}
			key, value, _ := strings.Cut(pair, "=")
			k, err1 := url.QueryUnescape(key)
			v, err2 := url.QueryUnescape(value)
			if err1 != nil || err2 != nil {
				t.Fatalf("%q: got %v, %v", pair, err1, err2)
			}
			got[k] = v
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestAttributesOfEnvAndLabelsJoin(t *testing.T) {
	s := Subject{ContainerEnv: []string{"A=first", "A=last", "B=", "NOVALUE", "tier=env"},
		ContainerLabels: map[string]string{"tier": "label", "x": "1"}}
	for name, c := range map[string]struct{ options, want map[string]string }{
		"last value applies": {map[string]string{Env: "A"}, map[string]string{"A": "last"}},
		"empty value":        {map[string]string{Env: "B,NOVALUE"}, map[string]string{"B": ""}},
		"env after label": {map[string]string{Env: "tier", Labels: "tier,x"},
			map[string]string{"tier": "env", "x": "1"}},
		"names are exact": {map[string]string{Labels: " tier,TIER"}, map[string]string{}},
		"names and pattern": {map[string]string{Labels: "x", LabelsRegex: "^ti"},
			map[string]string{"x": "1", "tier": "label"}},
		"empty pattern": {map[string]string{EnvRegex: "", LabelsRegex: ""}, map[string]string{}},
	} {
		if got := attributes(Config{Options: c.options}, s); !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
