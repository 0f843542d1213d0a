package runtime_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

func TestContainersAreAdoptedAfterRestart(t *testing.T) {
	h := newHost(t)
	lives := h.container("sh", "-c", "while read x; do echo got $x; test $x = end && exit 6; done")
	lives.l.OpenStdin = true
	lives.mustCreate().start()
	ends := h.container("sh", "-c", "sleep 0.2; exit 8").mustCreate().start()
	waits := h.container("true").mustCreate() // never started

	first := h.driver
	h.drive() // a new agent on the same roots, while the old one still runs
	for range 2 {
		if f, err := h.driver.Adopt(h.ctx, lives.id); err != nil || f.State != runtime.Alive || f.PID == 0 {
			t.Fatalf("Adopt: got %+v, %v; want it alive", f, err)
		}
	}

	if f, err := h.driver.Adopt(h.ctx, waits.id); err != nil || f.State != runtime.Gone {
		t.Errorf("Adopt of a container never started: got %+v, %v", f, err)
	}

	waitFor(t, "the exit file", func() bool {
		_, err := os.Stat(filepath.Join(h.root, "exits",
			ends.id))
		return err == nil
	})
	if f, err := h.driver.Adopt(h.ctx, ends.id); err != nil || f.State != runtime.Ended || f.Exit.Code != 8 ||
		f.Exit.Unknown {
		t.Errorf("Adopt of an ended container: got %+v, %v", f, err)
	}

	if f, err := h.driver.Adopt(h.ctx, strings.Repeat("0", 64)); err != nil || f.State != runtime.Gone {
		t.Errorf("Adopt of an unknown container: got %+v, %v", f, err)
	}

	a := lives.attach()
	if _, err := a.Write([]byte("again\nend\n")); err != nil {
		t.Fatal(err)
	}

	waitOutput(t, a, "got again\ngot end\n")
	lives.wantExit(6)
	ends.remove()
	waits.remove()
	lives.remove()
	lives.nothingLeft()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
}

func TestExitWithoutMonitorIsUnknown(t *testing.T) {
	h := newHost(t)
	c := h.container("sleep", "1000").mustCreate().start()
	first := h.driver
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	killPid(t, c, "monitor.pid")
	killPid(t, c, "pid")
	h.drive()
	if f, err := h.driver.Adopt(h.ctx, c.id); err != nil || f.State != runtime.Ended || f.Exit.Code != 137 ||
		!f.Exit.Unknown {
		t.Errorf("Adopt: got %+v, %v", f, err)
	}

	c.remove()
	c.nothingLeft()
}

func TestMonitorKillEndsContainer(t *testing.T) {
	h := newHost(t)
	c := h.container("sleep", "1000")
	pid := 0
	p, err := h.driver.Prepare(h.ctx, c.l)
	if err != nil {
		t.Fatal(err)
	}

	if pid, err = p.Create(h.ctx, c.spec()); err != nil {
		t.Fatal(err)
	}

	c.start()
	killPid(t, c, "monitor.pid")
	if e := c.exit(); e.Code != 137 || e.Unknown == reportsExitCodes(t) {
		t.Errorf("got exit %+v, want 137, unknown if the kernel does not report it", e)
	}

	waitFor(t, "the process's end", func() bool { return syscall.Kill(pid, 0) != nil })
	c.remove()
	c.nothingLeft()
}

func killPid(t *testing.T, c *ctr, file string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.root, "containers", c.id, file))
	if err != nil {
		t.Fatal(err)
	}

	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	waitFor(t, "the end of "+file, func() bool { return syscall.Kill(pid, 0) != nil })
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout waiting for %s", what)
		}
	}
}

func TestAbortRemovesEverything(t *testing.T) {
	h := newHost(t)
	c := h.container("true")
	p, err := h.driver.Prepare(h.ctx, c.l)
	if err != nil {
		t.Fatal(err)
	}

	p.Abort()
	p.Abort()
	c.nothingLeft()
	if _, err := p.Create(h.ctx, c.spec()); err == nil {
		t.Error("an aborted launch continues")
	}
}

func TestPreparedContainerIsDeleted(t *testing.T) {
	h := newHost(t)
	c := h.container("true")
	p, err := h.driver.Prepare(h.ctx, c.l)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := h.driver.Prepare(h.ctx, c.l); !fault.Is(err, fault.Exists) {
		t.Errorf("a second launch of the container: %v", err)
	}
	if len(monitors(t, c.id)) != 1 {
		t.Error("the monitor does not exist")
	}

	c.remove()
	c.nothingLeft()
	if left := monitors(t, c.id); len(left) > 0 {
		t.Errorf("processes not ended: %v", left)
	}

	if _, err := p.Create(h.ctx, c.spec()); err == nil {
		t.Error("a deleted launch continues")
	}
}

// monitors returns the processes with a container's ID among their arguments.
func monitors(t *testing.T, uid string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), uid) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// A launch is canceled while the runtime runs or is about to, as after a port conflict.
func TestCanceledCreateRemovesEverything(t *testing.T) {
	h := newHost(t)
	var all []*ctr
	for i := range 60 {
		c := h.container("sleep", "1000")
		all = append(all, c)
		ctx, cancel := context.WithCancel(h.ctx)
		p, err := h.driver.Prepare(ctx, c.l)
		if err != nil {
			t.Fatal(err)
		}
		stop := time.AfterFunc(time.Duration(i)*200*time.Microsecond, cancel)
		if _, err = p.Create(ctx, c.spec()); err == nil {
			c.remove()
		}
		stop.Stop()
		cancel()
	}

	time.Sleep(300 * time.Millisecond) // for a process that might continue
	for _, c := range all {
		c.nothingLeft()
		if left := monitors(t, c.id); len(left) > 0 {
			t.Errorf("processes not ended: %v", left)
		}
	}
}

func TestCreatedContainerIsDeletedAndRelaunched(t *testing.T) {
	h := newHost(t)
	c := h.container("true").mustCreate()
	if _, err := h.driver.Prepare(h.ctx, c.l); !fault.Is(err, fault.Exists) {
		t.Errorf("a second launch of the container: %v", err)
	}

	c.remove()
	c.nothingLeft()
	c.mustCreate().start()
	c.wantExit(0)
	if len(c.exits) > 0 {
		t.Errorf("got an extra exit: %+v", <-c.exits)
	}
}

func TestPrepareRemovesStaleLaunch(t *testing.T) {
	h := newHost(t)
	c := h.container("sleep", "1000")
	if _, err := h.driver.Prepare(h.ctx, c.l); err != nil {
		t.Fatal(err)
	}
	ids, err := h.driver.IDs()
	if err != nil || len(ids) != 1 || ids[0] != c.id {
		t.Errorf("IDs: got %v, %v", ids, err)
	}
	c.remove()
	c.nothingLeft()
}

func TestDeleteKillsContainer(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "sleep 1000 & sleep 1000").mustCreate().start()
	c.remove()
	c.wantExit(137)
	c.nothingLeft()
}
