package runtime_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// freeze freezes a container's cgroup, as an administrator or another program can.
func (c *ctr) freeze() {
	c.t.Helper()
	for file, text := range map[string]string{
		filepath.Join("/sys/fs/cgroup/freezer", c.cgroup.Path(c.id), "freezer.state"): "FROZEN",
		filepath.Join(c.cgroup.V2, c.cgroup.Path(c.id), "cgroup.freeze"):              "1",
	} {
		if c.cgroup.Mode == cgroup.V2 != strings.HasSuffix(file, "cgroup.freeze") {
			continue
		}
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			c.t.Skipf("cannot freeze cgroups: %v", err)
		}
	}

	waitFor(c.t, "the freezing", func() bool { return c.cgroup.Frozen(c.id) != "" })
}

func TestFrozenContainerIsStoppedAndKilled(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.container("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
		c.l.Runtime = name
		c.mustCreate().start()
		waitFor(t, "the trap", func() bool {
			log, _ := os.ReadFile(c.l.Output.Path)
			return strings.Contains(string(log),
				"ready")
		})
		c.freeze()
		if err := h.driver.Stop(h.ctx, c.id, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		c.wantExit(5)
		c.remove()
		c = h.sleeper(name)
		c.freeze()
		if err := h.driver.Kill(h.ctx, c.id); err != nil {
			t.Errorf("%s: Kill: %v", name, err)
		}
		c.wantExit(137)
		c.remove()
		c.nothingLeft()
	}
}

// A container without a watching agent, as after a crash, is deleted even if its cgroup is frozen.
func TestFrozenContainerIsDeleted(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	first := h.driver
	h.drive()
	c.freeze()
	c.remove()
	c.nothingLeft()
	_ = first.Close()
}

// monitorFiles returns the number of open files of a container's monitor.
func (c *ctr) monitorFiles() int {
	c.t.Helper()
	pid, err := runtime.ReadPid(filepath.Join(c.root, "containers", c.id, "monitor.pid"))
	if err != nil {
		c.t.Fatal(err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		c.t.Fatal(err)
	}
	return len(files)
}

// signalMonitor sends a signal to a container's monitor.
func (c *ctr) signalMonitor(sig syscall.Signal) {
	c.t.Helper()
	pid, err := runtime.ReadPid(filepath.Join(c.root, "containers", c.id, "monitor.pid"))
	if err == nil {
		err = syscall.Kill(pid, sig)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestStoppedMonitorDoesNotHideExit(t *testing.T) {
	h := newHost(t)
	killed := h.sleeper("")
	killed.signalMonitor(syscall.SIGSTOP)
	if err := h.driver.Kill(h.ctx, killed.id); err != nil {
		t.Errorf("Kill: %v", err)
	}
	killed.wantExit(137)
	ends := h.container("sh", "-c", "sleep 0.3; exit 9").mustCreate().start()
	ends.signalMonitor(syscall.SIGSTOP)
	ends.wantExit(9)
}

func TestSlowClientDoesNotDelayKill(t *testing.T) {
	h := newHost(t)
	c := h.container("yes")
	c.l.Attach = true
	a := c.mustCreate().attach()
	c.start()
	waitFor(t, "output", func() bool {
		info, err := os.Stat(c.l.Output.Path)
		return err == nil && info.Size() > 1<<16
	})
	if err := h.driver.Kill(h.ctx, c.id); err != nil { // well before the driver disconnects slow clients
		t.Errorf("Kill: %v", err)
	}
	c.wantExit(137)
	_ = a.Close()
}

func TestExitCodeWithoutExitDirectory(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "until [ -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; exit 7").mustCreate().start()
	if err := os.RemoveAll(filepath.Join(h.root, "exits")); err != nil {
		t.Fatal(err)
	}

	release := func() {
		if err := os.WriteFile(filepath.Join(h.rootfs, "tmp/go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	release()
	c.wantExit(7)
	waitFor(t, "the directory", func() bool { _, err := os.Stat(filepath.Join(h.root, "exits")); return err == nil })
	c.remove()
	c = h.container("sh", "-c", "until [ -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; exit 8").mustCreate().start()
	release()
	c.wantExit(8)
}

func TestSignalDistinguishesEndedProcess(t *testing.T) {
	h := newHost(t)
	c := h.container("true").mustCreate().start()
	c.wantExit(0)
	for what, err := range map[string]error{"Signal": h.driver.Signal(h.ctx, c.id, syscall.SIGTERM),
		"Stop":       h.driver.Stop(h.ctx, c.id, syscall.SIGTERM),
		"of nothing": h.driver.Signal(h.ctx, strings.Repeat("0", 64), syscall.SIGTERM)} {
		if !errors.Is(err, runtime.ErrEnded) {
			t.Errorf("%s: got %v, want ErrEnded", what, err)
		}
	}

	began := time.Now()
	if err := h.driver.Kill(h.ctx, c.id); err != nil || time.Since(began) > testTimeout {
		t.Errorf("Kill of an ended container: %v", err)
	}
}
