package runtime_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// BenchmarkBareCrunRun measures crun alone on the same bundle, as a baseline for a launch.
func BenchmarkBareCrunRun(b *testing.B) {
	h := newHost(b)
	path, err := h.driver.Runtime("crun")
	if err != nil {
		b.Skip(err)
	}

	c := h.container("true")
	config, err := json.Marshal(c.spec())
	if err != nil {
		b.Fatal(err)
	}

	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		b.Fatal(err)
	}

	state := filepath.Join(h.root, "bare")
	for b.Loop() {
		if out, err := exec.CommandContext(h.ctx, path, "--root", state, "run", "--bundle", dir,
			id.New()).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}

// BenchmarkLaunch measures a launch up to the reported exit, with a client attached. It does not
// count the removal.
func BenchmarkLaunch(b *testing.B) {
	for _, name := range []string{"crun", "runc"} {
		b.Run(name, func(b *testing.B) { benchLaunch(b, name, func() {}) })
	}
}

// BenchmarkLaunchPrepared measures a launch whose monitor starts in parallel to 2 ms of other work.
// The result includes these 2 ms.
func BenchmarkLaunchPrepared(b *testing.B) {
	benchLaunch(b, "crun", func() { _ = exec.CommandContext(context.Background(), "true").Run() })
}

func benchLaunch(b *testing.B, runtimeName string, meanwhile func()) {
	h := newHost(b)
	if _, err := h.driver.Runtime(runtimeName); err != nil {
		b.Skip(err)
	}

	for b.Loop() {
		c := h.container("true")
		c.l.Attach, c.l.Runtime = true, runtimeName
		p, err := h.driver.Prepare(h.ctx, c.l)
		if err != nil {
			b.Fatal(err)
		}
		meanwhile()
		if _, err := p.Create(h.ctx, c.spec()); err != nil {
			b.Fatal(err)
		}
		a := c.attach()
		c.start()
		readAll(b, a)
		c.wantExit(0)
		b.StopTimer()
		_ = a.Close()
		c.remove()
		b.StartTimer()
	}
}

// BenchmarkExec measures an exec from the request to the exit code.
func BenchmarkExec(b *testing.B) {
	h := newHost(b)
	c := h.sleeper("")
	for b.Loop() {
		s, err := h.driver.Exec(h.ctx, runtime.ExecRequest{ID: c.id,
			Process: c.execProcess(spec.Process{Args: []string{"true"}})})
		if err != nil {
			b.Fatal(err)
		}
		readAll(b, s)
		c.wantCode(s, 0)
		_ = s.Close()
	}
}

// BenchmarkExecMissingProgram measures an exec of a program that does not exist.
func BenchmarkExecMissingProgram(b *testing.B) {
	h := newHost(b)
	c := h.sleeper("")
	for b.Loop() {
		_, err := h.driver.Exec(h.ctx, runtime.ExecRequest{ID: c.id,
			Process: c.execProcess(spec.Process{Args: []string{"nosuch"}})})
		if fault.ReasonOf(err) != fault.ReasonCommandNotFound {
			b.Fatal(err)
		}
	}
}

// BenchmarkDelete measures the removal of a container that has ended.
func BenchmarkDelete(b *testing.B) {
	h := newHost(b)
	for b.Loop() {
		b.StopTimer()
		c := h.container("true").mustCreate().start()
		c.wantExit(0)
		b.StartTimer()
		if err := h.driver.Delete(h.ctx, c.id); err != nil {
			b.Fatal(err)
		}
	}
}
