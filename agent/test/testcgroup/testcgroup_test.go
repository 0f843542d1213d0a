package testcgroup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testcgroup"
)

func TestMain(m *testing.M) { os.Exit(testcgroup.Run(m)) }

func TestTheTestsRunInAPidNamespaceWithTheirOwnProc(t *testing.T) {
	testcgroup.Need(t)
	self, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	init, err := os.ReadFile("/proc/1/cmdline")
	if err != nil || !strings.Contains(string(init), "testcgroup.test") {
		t.Errorf("process 1 is %q, %v; want this test's own", init, err)
	}
	if self == "1" {
		t.Error("the tests are process 1, which would have to reap")
	}
}

func TestNoControllerIsLeftOnTheV2SideOfAHybrid(t *testing.T) {
	testcgroup.Need(t)
	if b, err := os.ReadFile("/sys/fs/cgroup/unified/cgroup.controllers"); err == nil && strings.TrimSpace(string(b)) != "" {
		t.Errorf("left: %s", b)
	}
	if !strings.HasPrefix(testcgroup.Parent(), "/fairlead-test-") {
		t.Errorf("parent %q", testcgroup.Parent())
	}
}

func TestBusyboxHasAShell(t *testing.T) {
	testcgroup.Need(t)
	root := testcgroup.Busybox(t)
	if _, err := os.Stat(filepath.Join(root, "bin/sh")); err != nil {
		t.Error(err)
	}
}
