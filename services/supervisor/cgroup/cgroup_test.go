package cgroup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/fairlead/fairlead/agent/testcgroup"
	"github.com/fairlead/fairlead/services/supervisor/cgroup"
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

func TestTheHostsLayoutIsFoundAndNothingIsLeftOfTheTry(t *testing.T) {
	l := detect(t)
	if err := l.Unusable(); err != nil {
		t.Error(err)
	}
	for _, m := range l.Mounts {
		if left, _ := filepath.Glob(filepath.Join(m, "fairlead-try-*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestRemoveEndsProcessesInTheWholeTreeAndIsIdempotent(t *testing.T) {
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
				continue // it takes processes only once it has been given processors
			}
			p := exec.CommandContext(t.Context(), "sleep", "1000")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			procs = append(procs, p)
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(l.Pids(uid)); n != len(procs) {
		t.Errorf("Pids() gives %d, want %d", n, len(procs))
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
			t.Errorf("%s: %v, want not exist", m, err)
		}
	}
	if err := l.Remove(t.Context(), uid); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestMonitorsHaveACgroupOfTheirOwnThatGoesWithTheParent(t *testing.T) {
	l := detect(t)
	f, err := l.Monitors()
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		t.Skip("needs a cgroup v2 hierarchy")
	}
	defer func() { _ = f.Close() }()
	l.RemoveParent()
	if _, err := os.Stat(filepath.Join(l.V2, l.Parent)); !os.IsNotExist(err) {
		t.Errorf("the parent is still there: %v", err)
	}
}
