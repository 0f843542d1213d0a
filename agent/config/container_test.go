package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	configfile "github.com/fairlead/fairlead/agent/config/file"
)

func parseFile(t *testing.T, text string, flags ...config.Setting) (*config.Config, error) {
	t.Helper()
	layer, err := configfile.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return config.Build(layer, config.Layer{Rank: config.Flag, Settings: flags})
}

func TestContainerDefaults(t *testing.T) {
	c, err := parseFile(t, `{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 1024},
		"core": {"Soft": 0, "Hard": -1}, "nproc": {"Hard": 5}},
		"runtimes": {"mine": {"path": "/opt/mine"}}, "default-shm-size": "128m", "init": true,
		"default-ipc-mode": "shareable", "default-cgroupns-mode": "host", "cgroup-parent": "/a/b", "init-path": "/i",
		"no-new-privileges": true, "seccomp-profile": "/p.json", "oom-score-adjust": -500}`,
		config.Setting{Key: "default-ulimits", Texts: []string{"nproc=7:8"}},
		config.Setting{Key: "runtimes", Texts: []string{"mine=/flag"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Ulimit{{Name: "nproc", Soft: 7, Hard: 8}, {Name: "nofile", Soft: 1024, Hard: 64000},
		{Name: "core", Soft: 0, Hard: -1}}
	if !slices.Equal(c.Ulimits, want) {
		t.Errorf("got limits %v, want %v", c.Ulimits, want)
	}
	if len(c.Runtimes) != 1 || c.Runtimes[0] != (config.Runtime{Name: "mine", Path: "/flag"}) {
		t.Errorf("got runtimes %v, want that of the flag", c.Runtimes)
	}
	if c.ShmSize != 128<<20 || !c.Init || c.IPCMode != "shareable" || c.CgroupnsMode != "host" ||
		c.CgroupParent != "/a/b" || c.InitPath != "/i" || !c.NoNewPrivileges || c.SeccompProfile != "/p.json" ||
		*c.OOMScoreAdjust != -500 {
		t.Errorf("got %+v", c)
	}

	c, err = config.Build()
	if err != nil || c.ShmSize != 64<<20 || c.IPCMode != "private" || c.CgroupnsMode != "" || c.OOMScoreAdjust != nil {
		t.Errorf("got %+v, %v, want the defaults", c, err)
	}
}

func TestContainerDefaultsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{"default-ulimits": {"files": {"Soft": 1}}}`:               `"files" is not a limit`,
		`{"default-ulimits": {"nofile": {"Name": "core"}}}`:         "differs from its key",
		`{"default-ulimits": {"nofile": {"Soft": 2, "Hard": 1}}}`:   "higher than the hard limit 1",
		`{"default-ulimits": {"nofile": {"Max": 2}}}`:               "max=2 of nofile is not valid",
		`{"default-ulimits": {"nofile": {"Soft": "x"}}}`:            "soft=x of nofile is not valid",
		`{"default-ulimits": {"nofile": 5}}`:                        "must be an object as",
		`{"runtimes": {"mine": {"path": "mine"}}}`:                  "is not a valid runtime",
		`{"runtimes": {"mine": {"runtimeType": "io.x"}}}`:           "runtimeType of runtime mine is not supported",
		`{"runtimes": {"mine": {"path": "/x", "runtimeArgs": []}}}`: "must be an object as",
		`{"default-shm-size": "1"}`:                                 "is not a valid size",
		`{"default-shm-size": 67108864}`:                            "must be a string",
		`{"default-ipc-mode": "host"}`:                              "write private or shareable",
		`{"default-cgroupns-mode": "x"}`:                            "write private or host",
		`{"cgroup-parent": "../x"}`:                                 "is not a valid cgroup",
		`{"init-path": "tini"}`:                                     "is not an absolute path",
		`{"seccomp-profile": "p.json"}`:                             "is not a profile",
		`{"oom-score-adjust": 5000}`:                                "is not a valid score",
	} {
		if _, err := parseFile(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
}
