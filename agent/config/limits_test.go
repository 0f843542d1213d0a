package config_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
)

func TestLogAndProcessLimits(t *testing.T) {
	build := func(key, text string) (*config.Config, error) {
		return config.Build(config.Layer{Rank: config.File,
			Settings: []config.Setting{{Key: key, Texts: []string{text}}}})
	}
	for text, want := range map[string]int64{"10m": 10 << 20, "64K": 64 << 10, "1g": 1 << 30, "2MB": 2 << 20,
		"70000": 70000, "65536b": 65536, "-1": 0} {
		if c, err := build("log-opts.max-size", text); err != nil || c.LogMaxSize != want {
			t.Errorf("%s: got %v, want %d", text, err, want)
		}
	}
	for key, texts := range map[string][]string{"log-opts.max-size": {"0", "1k", "x", "9999999999g", "-5", "m"},
		"log-opts.max-file":  {"0", "101", "x"},
		"default-pids-limit": {"-2", "many"}, "log-driver": {"syslog", "x"}} {
		for _, text := range texts {
			if _, err := build(key, text); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %s: got %v, want an error that names the key", key, text, err)
			}
		}
	}
	c, err := config.Build()
	if err != nil || c.LogMaxSize != 20<<20 || c.LogMaxFile != 5 || c.PidsLimit != 4096 {
		t.Errorf("defaults: got %d, %d, %d, %v", c.LogMaxSize, c.LogMaxFile, c.PidsLimit, err)
	}
	if _, err := build("log-opts", "x"); err == nil || !strings.Contains(err.Error(), "members max-size and max-file") {
		t.Errorf("got %v, want the members", err)
	}
}
