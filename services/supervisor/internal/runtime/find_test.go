package runtime_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// program creates a program that answers only --version.
func program(t *testing.T, dir, name, version string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	script := "#!/bin/sh\necho '" + version + "'\n"
	if version == "" {
		script = "#!/bin/sh\necho broken >&2; exit 3\n"
	}
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, cfg runtime.Config) (*runtime.Driver, error) {
	t.Helper()
	cfg.ExecRoot, cfg.Log = t.TempDir(), slog.New(slog.DiscardHandler)
	d, err := runtime.New(context.Background(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = d.Close() })
	}
	return d, err
}

func TestRuntimeByNameAndPath(t *testing.T) {
	dir := t.TempDir()
	conmon, mine := program(t, dir, "conmon", "conmon version 2.1"), program(t, dir, "mine", "mine 1")
	crun, runc := program(t, dir, "crun", "crun version 9"), program(t, dir, "runc", "runc version 9")
	d, err := open(t, runtime.Config{Conmon: conmon,
		Runtimes: map[string]string{"crun": crun, "runc": runc, "kata": mine}})
	if err != nil {
		t.Fatal(err)
	}

	unknown := program(t, dir, "later", "later 1")
	for ref, want := range map[string]string{"": crun, "crun": crun, "runc": runc, "kata": mine, mine: mine,
		unknown: unknown} {
		if got, err := d.Runtime(ref); err != nil || got != want {
			t.Errorf("Runtime(%q): got %s, %v; want %s", ref, got, err, want)
		}
	}

	for ref, want := range map[string]string{"gvisor": "one of: crun, kata, runc", "./crun": "absolute path",
		"/no/such":                 "no such file",
		program(t, dir, "bad", ""): "broken"} {
		if got, err := d.Runtime(ref); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Runtime(%q) = %s, %v; want an invalid fault containing %q", ref, got, err, want)
		}
	}
}

func TestUnusableCrunFallsBackToRunc(t *testing.T) {
	dir := t.TempDir()
	programs := map[string]string{"crun": program(t, dir, "crun", "crun version 9"),
		"runc": program(t, dir, "runc", "runc version 9")}
	cfg := runtime.Config{Conmon: program(t, dir, "conmon", "conmon version 2.1"), Runtimes: programs,
		Cgroup: cgroup.Layout{Mode: cgroup.Hybrid, V2Controllers: []string{"hugetlb"}}}
	d, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}

	if got, err := d.Runtime(""); err != nil || got != programs["runc"] {
		t.Errorf("got default %s, %v", got, err)
	}

	cfg.Default = "crun"
	if d, err = open(t, cfg); err != nil {
		t.Fatal(err)
	}

	if got, err := d.Runtime(""); err != nil || got != programs["crun"] {
		t.Errorf("got default %s, %v; want the configured one", got, err)
	}
}

func TestMissingProgramsHintPackage(t *testing.T) {
	dir := t.TempDir()
	conmon, crun := program(t, dir, "conmon", "conmon version 2.1"), program(t, dir, "crun", "crun version 9")
	for want, cfg := range map[string]runtime.Config{
		"install the package conmon": {Conmon: filepath.Join(dir, "none"), Runtimes: map[string]string{"crun": crun}},
		"broken":                     {Conmon: program(t, dir, "bad", ""), Runtimes: map[string]string{"crun": crun}},
		"runtime kata":               {Conmon: conmon, Runtimes: map[string]string{"kata": filepath.Join(dir, "none")}},
		"one of":                     {Conmon: conmon, Runtimes: map[string]string{"crun": crun}, Default: "kata"},
	} {
		if _, err := open(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: got %v, want it to contain %q", err, want)
		}
	}

	t.Setenv("PATH", dir)
	if _, err := open(t, runtime.Config{}); err != nil {
		t.Errorf("with both in $PATH: %v", err)
	}
}
