// Package testcgroup isolates tests that start real containers. It runs them in a new mount
// namespace, with cgroup hierarchies that crun accepts, and in a new PID namespace.
//
// Container monitors detach from the process that starts them. The kernel kills them with the PID
// namespace when the tests exit, even after a crash. The mounts of the host do not change.
package testcgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/id"
)

// Environment variables of a re-executed test binary: its stage, and the parent cgroup of its
// containers.
const (
	stageVar  = "FAIRLEAD_TESTCGROUP_STAGE"
	parentVar = "FAIRLEAD_TESTCGROUP_PARENT"
)

// Ready reports whether the tests run in the namespaces that Run creates.
func Ready() bool { return os.Getenv(stageVar) == "test" }

// Need skips the test if Run could not create its namespaces. With CI set, it fails the test instead.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case Ready():
	case os.Getenv("CI") != "":
		t.Fatal("this test must run as root, in a package whose TestMain calls testcgroup.Run")
	default:
		t.Skip("needs root to create mount and PID namespaces")
	}
}

// Parent returns the parent cgroup for the containers of the tests. Run removes it.
func Parent() string { return os.Getenv(parentVar) }

// Run runs the tests of a package in new namespaces and returns the exit code for os.Exit. TestMain
// calls it instead of m.Run. Processes and cgroups that the tests leave are removed, and make the
// run fail. Without root it runs the tests directly.
func Run(m *testing.M) int {
	switch os.Getenv(stageVar) {
	case "test":
		return m.Run()
	case "init":
		return initStage()
	}
	if os.Geteuid() != 0 {
		return m.Run()
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	return reexec("init", attr).wait()
}

// initStage is process 1 of the new PID namespace. It mounts the hierarchies, runs the tests as its
// child and reaps orphaned processes.
func initStage() int {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "testcgroup: this is not process 1 of a PID namespace")
		return 1
	}
	if err := errors.Join(mountProc(), mountHierarchies()); err != nil {
		fmt.Fprintln(os.Stderr, "testcgroup:", err)
		return 1
	}

	_ = os.Setenv(parentVar, "/fairlead-test-"+id.Short(id.New()))
	code := reexec("test", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}).wait()

	left := processes()
	for pid, name := range left {
		fmt.Fprintf(os.Stderr, "testcgroup: left behind: process %d (%s)\n", pid, name)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := removeParent(); err != nil {
		fmt.Fprintln(os.Stderr, "testcgroup:", err)
		code = max(code, 1)
	}
	if len(left) > 0 {
		code = max(code, 1)
	}
	return code
}

type child struct{ pid int }

// reexec starts this binary again in another stage. It does not use os/exec, so that the init
// process can reap its children in any order.
func reexec(stage string, attr *syscall.SysProcAttr) child {
	if err := os.Setenv(stageVar, stage); err != nil {
		fmt.Fprintln(os.Stderr, "testcgroup:", err)
		return child{}
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args,
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcgroup:", err)
	}
	return child{pid}
}

// wait reaps all children until c exits, and returns its exit code.
func (c child) wait() int {
	if c.pid <= 0 {
		return 1
	}

	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == c.pid && status.Signaled():
			return 128 + int(status.Signal())
		case pid == c.pid:
			return status.ExitStatus()
		}
	}
}

// processes waits up to 3 seconds for all other processes of the PID namespace to exit, and returns
// the command lines of the rest by PID.
func processes() map[int]string {
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var status syscall.WaitStatus
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		}
		left := map[int]string{}
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
				name, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
				left[pid] = string(bytes.ReplaceAll(name, []byte{0}, []byte{' '}))
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// removeParent removes the parent cgroup of the tests from all hierarchies. It returns an error if
// it contains cgroups of containers.
func removeParent() error {
	var errs []error
	name := strings.TrimPrefix(os.Getenv(parentVar), "/")
	roots, _ := filepath.Glob("/sys/fs/cgroup/*")
	for _, root := range append(roots, "/sys/fs/cgroup") {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if i > 0 && !strings.HasPrefix(filepath.Base(dirs[i]), "agent-") {
				errs = append(errs, fmt.Errorf("left behind: cgroup %s", dirs[i]))
			}
			if err := removeDir(dirs[i]); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// removeDir removes a cgroup. It waits up to 2 seconds for killed processes to exit.
func removeDir(dir string) error {
	var err error
	for range 100 {
		if err = os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
