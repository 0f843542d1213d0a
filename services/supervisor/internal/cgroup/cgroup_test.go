package cgroup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testcgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
)

func TestMain(m *testing.M) { os.Exit(testcgroup.Run(m)) }

func detect(t *testing.T) cgroup.Layout {
	t.Helper()
	testcgroup.Need(t)
	l, err := cgroup.Detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Parent = testcgroup.Parent()
	return l
}

func TestDetectRemovesProbe(t *testing.T) {
	l := detect(t)
	if err := l.CheckCrun(); err != nil {
		t.Error(err)
	}
	for _, m := range l.Mounts {
		if left, _ := filepath.Glob(filepath.Join(m, "fairlead-probe-*")); len(left) > 0 {
			t.Errorf("not removed: %v", left)
		}
	}
}

func TestRemoveKillsTreeAndIsIdempotent(t *testing.T) {
	l := detect(t)
	const uid = "c1"
	var procs []*exec.Cmd
	for _, m := range l.Mounts {
		for _, sub := range []string{"", "below"} {
			dir := filepath.Join(m, l.Path(uid), sub)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if filepath.Base(m) == "cpuset" {
				continue // a cpuset accepts processes only after CPUs are assigned
			}
			p := exec.CommandContext(t.Context(), "sleep", "1000")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			procs = append(procs, p)
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)),
				0); err != nil {
				t.Fatal(err)
			}
		}
	}

	if n := len(l.Pids(uid)); n != len(procs) {
		t.Errorf("Pids: got %d, want %d", n, len(procs))
	}

	done := make(chan error, 1)
	go func() { done <- l.Remove(t.Context(), uid) }()
	for _, p := range procs {
		if err := p.Wait(); err == nil {
			t.Errorf("process %d was not killed", p.Process.Pid)
		}
	}

	if err := <-done; err != nil {
		t.Fatal(err)
	}

	for _, m := range l.Mounts {
		if _, err := os.Stat(filepath.Join(m, l.Path(uid))); !os.IsNotExist(err) {
			t.Errorf("%s: got %v, want not exist", m, err)
		}
	}

	if err := l.Remove(t.Context(), uid); err != nil {
		t.Errorf("second removal: %v", err)
	}
}

func TestLastAgentRemovesParent(t *testing.T) {
	l := detect(t)
	for _, agent := range []string{"/run/a", "/run/b", "/run/a"} {
		f, err := l.CreateAgentCgroup(agent)
		if err != nil {
			t.Fatal(err)
		}
		if (f != nil) != (l.V2 != "") {
			t.Errorf("CreateAgentCgroup: got %v with v2 at %q", f, l.V2)
		}
		if f != nil {
			_ = f.Close()
		}
	}

	there := func() int {
		n := 0
		for _, m := range l.Mounts {
			if _, err := os.Stat(filepath.Join(m, l.Parent)); err == nil {
				n++
			}
		}
		return n
	}
	l.RemoveAgentCgroup("/run/a")
	if n := there(); n != len(l.Mounts) {
		t.Errorf("parent exists in %d of %d hierarchies while an agent runs", n, len(l.Mounts))
	}

	l.RemoveAgentCgroup("/run/b")
	if n := there(); n != 0 {
		t.Errorf("parent still exists in %d hierarchies", n)
	}
}
