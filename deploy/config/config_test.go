package config_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/config/file"
)

const name = "daemon.json"

func example(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func load(t *testing.T, data []byte) (*config.Config, config.Layer) {
	t.Helper()
	layer, err := file.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Build(layer)
	if err != nil {
		t.Fatal(err)
	}
	return c, layer
}

func TestTheExampleAsItIsSetsNothing(t *testing.T) {
	if _, layer := load(t, example(t)); len(layer.Settings) != 0 {
		t.Errorf("it sets %v", layer.Settings)
	}
}

// shown are the lines that hold a setting behind slashes: they go on with a quote or a bracket, which prose does not.
var shown = regexp.MustCompile(`(?m)^( *)// ( *["\]}])`)

func TestEveryKeyIsShownAsItCanBeWritten(t *testing.T) {
	_, layer := load(t, shown.ReplaceAll(example(t), []byte("$1$2")))
	there := map[string]bool{}
	for _, s := range layer.Settings {
		there[s.Key] = true
	}
	for _, k := range config.Keys() {
		if !there[k.Name] {
			t.Errorf("%s is not shown", k.Name)
		}
	}
}

func TestWhatIsShownAsADefaultIsTheDefault(t *testing.T) {
	_, layer := load(t, shown.ReplaceAll(example(t), []byte("$1$2")))
	defaults, err := config.Build()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, v := range defaults.Values() {
		if len(v.Texts) == 1 && v.Key != "hosts" { // hosts is shown with a second one
			want[v.Key] = v.Texts[0]
		}
	}
	for _, s := range layer.Settings {
		if text, ok := want[s.Key]; ok && s.Texts[0] != text {
			t.Errorf("%s is shown as %q, its default is %q", s.Key, s.Texts[0], text)
		}
	}
}
