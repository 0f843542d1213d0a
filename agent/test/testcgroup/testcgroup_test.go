package testcgroup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testcgroup"
)

func TestMain(m *testing.M) { os.Exit(testcgroup.Run(m)) }

func TestRunCreatesPIDNamespaceWithProc(t *testing.T) {
	testcgroup.Need(t)
	self, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	init, err := os.ReadFile("/proc/1/cmdline")
	if err != nil || !strings.Contains(string(init), "testcgroup.test") {
		t.Errorf("process 1: got %q, error %v, want this test binary", init, err)
	}
	if self == "1" {
		t.Error("got the tests as process 1, want its child")
	}
}

func TestHybridHasNoV2Controllers(t *testing.T) {
	testcgroup.Need(t)
	b, err := os.ReadFile("/sys/fs/cgroup/unified/cgroup.controllers")
	if err == nil && strings.TrimSpace(string(b)) != "" {
		t.Errorf("got v2 controllers %s, want none", b)
	}
	if !strings.HasPrefix(testcgroup.Parent(), "/fairlead-test-") {
		t.Errorf("got parent cgroup %q", testcgroup.Parent())
	}
}

func TestBusyboxHasAShell(t *testing.T) {
	testcgroup.Need(t)
	root := testcgroup.Busybox(t)
	if _, err := os.Stat(filepath.Join(root, "bin/sh")); err != nil {
		t.Error(err)
	}
}
