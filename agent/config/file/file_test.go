package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/config/file"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileWithCommentsIsRead(t *testing.T) {
	layer, err := file.Parse("f", []byte("\ufeff// the bridge\n{\n  \"bip\": \"10.0.0.1/24\", /* why */\n  \"mtu\": "+
		"1400,\n  \"debug\": true,\n  \"dns\": [\"1.1.1.1\",\n    \"8.8.8.8\",],\n  \"services\": {\n    \"nat\": "+
		"\"unix:///n\"\n  },\n}"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Build(layer)
	if err != nil {
		t.Fatal(err)
	}
	if c.BIP.String() != "10.0.0.1/24" || c.MTU != 1400 || !c.Debug || len(c.DNS) != 2 ||
		c.Service("nat").Address != "/n" {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]string{"bip": "f:3", "mtu": "f:4", "dns": "f:6", "services.nat": "f:9"} {
		if got := c.OriginOf(key).String(); got != want {
			t.Errorf("%s is from %s, want %s", key, got, want)
		}
	}
}

func TestInvalidContentIsRejected(t *testing.T) {
	for content, want := range map[string]string{
		"{\n\"bip\": \"x\"\n\"mtu\": 1}": "configuration file f: is not JSON: line 3, column 1",
		"[]":                             "configuration file f: is not an object",
		"{\"a\": 1,\n\"a\": 2}":          "a (f:2): is already set in line 1; keep one of them",
		"{} {}":                          "is not JSON",
	} {
		if _, err := file.Parse("f", []byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", content, err, want)
		}
	}
}

func TestEmptyFileSetsNothing(t *testing.T) {
	for _, content := range []string{"", " \n", "{}", "{} // a comment that ends the file"} {
		if layer, err := file.Parse("f", []byte(content)); err != nil || len(layer.Settings) != 0 {
			t.Errorf("%q: %v, %v", content, layer, err)
		}
	}
}

func TestWrongKindOfValueIsRejected(t *testing.T) {
	for content, want := range map[string]string{
		`{"mtu": "1500"}`:             "mtu (f:1): must be a number",
		`{"bip": null}`:               "bip (f:1): must be a string",
		`{"dns": [1]}`:                "dns (f:1): must be a list of strings",
		`{"dns": {"a": "b"}}`:         "dns (f:1): must be a list of strings",
		`{"services": "x"}`:           "services (f:1): must be an object",
		`{"services": {"cat": "x"}}`:  "services.cat (f:1): unknown key; did you mean services.nat?",
		`{"log-opts": {"max": "1"}}`:  "log-opts.max (f:1): unknown key",
		`{"log-opts": 1}`:             "log-opts (f:1): must be an object with the members max-size and max-file",
		`{"data-dir": {"max": "1"}}`:  "data-dir (f:1): unknown key",
		`{"debug": "true", "mtu": 1}`: "debug (f:1): must be true or false",
	} {
		layer, err := file.Parse("f", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Build(layer); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", content, err, want)
		}
	}
}

func TestOnlyExplicitFileMustExist(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if layer, warnings, err := file.Read(path, false); err != nil || warnings != nil || len(layer.Settings) != 0 {
		t.Errorf("a missing default file: %v, %v, %v", layer, warnings, err)
	}
	_, _, err := file.Read(path, true)
	if err == nil || !strings.Contains(err.Error(),
		"configuration file "+path+": cannot be read: no such file or directory") {
		t.Errorf("a missing explicit file: %v", err)
	}
}

func TestMisspelledFileIsReported(t *testing.T) {
	misspelt := write(t, "deamon.json", "{}")
	dir := filepath.Dir(misspelt)
	for _, innocent := range []string{"daemon.json~", "daemon.json.bak", ".daemon.json", "other.json"} {
		if err := os.WriteFile(filepath.Join(dir, innocent), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "daemon.json")
	_, warnings, err := file.Read(path, false)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0],
		misspelt+": not used; did you mean "+path+"?") {
		t.Errorf("%q, %v", warnings, err)
	}
	if _, _, err := file.Read(path, true); err == nil || !strings.Contains(err.Error(), "did you mean "+misspelt+"?") {
		t.Errorf("%v", err)
	}
}

func TestNestedObjectsAreText(t *testing.T) {
	for content, want := range map[string]config.Setting{
		`{"default-network-opts": {"bridge": {"a": "1", "b": "2"}, "macvlan": {"c": 3}}}`: {Shape: config.Nested,
			Texts: []string{"bridge=a=1", "bridge=b=2", "macvlan=c=3"}},
		`{"default-network-opts": {"bridge": "a"}}`:       {Shape: config.Other},
		`{"default-network-opts": {"bridge": {"a": []}}}`: {Shape: config.Other},
	} {
		layer, err := file.Parse("f", []byte(content))
		if err != nil || layer.Settings[0].Shape != want.Shape || !slices.Equal(layer.Settings[0].Texts, want.Texts) {
			t.Errorf("%s: %+v, %v", content, layer.Settings, err)
		}
	}
}

func TestListsOfObjectsAreText(t *testing.T) {
	for content, want := range map[string]config.Setting{
		`{"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}, {"size": 64, "base": "fd00::/48"}]}`: {Shape: config.Objects,
			Texts: []string{"base=10.0.0.0/8,size=24", "size=64,base=fd00::/48"}},
		`{"default-address-pools": []}`:                                  {Shape: config.Array, Texts: []string{}},
		`{"default-address-pools": [{"base": ["10.0.0.0/8"]}]}`:          {Shape: config.Other},
		`{"default-address-pools": [{"base": "10.0.0.0/8"}, "fd00::1"]}`: {Shape: config.Other},
	} {
		layer, err := file.Parse("f", []byte(content))
		if err != nil || layer.Settings[0].Shape != want.Shape || !slices.Equal(layer.Settings[0].Texts, want.Texts) {
			t.Errorf("%s: %+v, %v", content, layer.Settings, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"{}", `{"bip": "10.0.0.1/24", "dns": ["1.1.1.1"], "services": {"net": "unix:///a"}}`,
		"// c\n{\"mtu\": 1,}", `{"a":{"b":[]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		layer, err := file.Parse("f", data)
		if err != nil {
			return
		}
		for _, s := range layer.Settings {
			if s.Origin.Line < 1 {
				t.Errorf("%q has no line", s.Key)
			}
		}
		_, _ = config.Build(layer)
	})
}

func TestNeighborsOfNamedFileAreNotReported(t *testing.T) {
	path := write(t, "agent1.json", "{}")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "agent2.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := file.Read(path, true); err != nil || len(warnings) != 0 {
		t.Errorf("got %q, %v, want no warning", warnings, err)
	}
}
