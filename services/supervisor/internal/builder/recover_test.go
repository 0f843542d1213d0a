package builder

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRecoverEndsSteps(t *testing.T) {
	b, network := newFakeBuilder(t, "#!/bin/sh\nexec sleep 1000\n")
	executor := filepath.Join(network.dir, "build", "worker", "executor")
	if err := os.MkdirAll(filepath.Join(executor, "step1", "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	runtime := filepath.Join(network.dir, "runtime")
	for path, text := range map[string]string{filepath.Join(executor, "step1", "config.json"): "{}",
		filepath.Join(executor, "hosts"): "", runtime: "#!/bin/sh\necho \"$@\" >>$0.log\nexit 1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}

	b.cfg.Runtime = runtime
	b.Recover(t.Context())
	if got, err := os.ReadFile(runtime + ".log"); err != nil || string(got) != "delete --force step1\n" {
		t.Errorf("got calls %q, %v", got, err)
	}
	left, err := os.ReadDir(executor)
	if err != nil || len(left) != 1 || left[0].Name() != "hosts" {
		t.Errorf("got %v, %v; want the bundle deleted only", left, err)
	}

	use(t, b)
	if err := os.MkdirAll(filepath.Join(executor, "step2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(executor, "step2", "config.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Recover(t.Context())
	if _, err := os.Stat(filepath.Join(executor, "step2")); err != nil {
		t.Errorf("got %v for a step of a running BuildKit", err)
	}
}
