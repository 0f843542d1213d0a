package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

func (c *ctr) execProcess(p spec.Process) *specs.Process {
	return spec.ExecProcess(c.opts.Host, p, c.opts.Hostname)
}

func (c *ctr) exec(req runtime.ExecRequest, p spec.Process) *runtime.ExecSession {
	c.t.Helper()
	req.ID, req.Process = c.id, c.execProcess(p)
	s, err := c.driver.Exec(c.ctx, req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (c *ctr) wantCode(s *runtime.ExecSession, want int) {
	c.t.Helper()
	if code, err := s.Wait(c.ctx); err != nil || code != want {
		c.t.Errorf("got exit code %d, %v; want %d", code, err, want)
	}
}

func (h *host) sleeper(runtimeName string) *ctr {
	c := h.container("sleep", "1000")
	c.l.Runtime = runtimeName
	return c.mustCreate().start()
}

func TestExecReturnsOutputAndExitCode(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.sleeper(name)
		s := c.exec(runtime.ExecRequest{}, spec.Process{Args: []string{"sh", "-c",
			"echo out; echo err >&2; pwd; id -u; exit 7"}, WorkingDir: "/tmp",
			User: users.User{UID: 33, GID: 33}})
		if stdout, stderr := readAll(t, s); stdout != "out\n/tmp\n33\n" || stderr != "err\n" {
			t.Errorf("%s: got output %q and %q", name, stdout, stderr)
		}
		c.wantCode(s, 7)
		left, err := filepath.Glob(filepath.Join(h.root, "containers", c.id, "exec-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: files not removed: %v, %v", name, left, err)
		}
	}
}

func runtimes(t *testing.T, h *host) []string {
	t.Helper()
	var out []string
	for _, name := range []string{"crun", "runc"} {
		if _, err := h.driver.Runtime(name); err == nil {
			out = append(out, name)
		} else if os.Getenv("CI") != "" {
			t.Error(err)
		}
	}
	return out
}

func TestExecReadsInput(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	s := c.exec(runtime.ExecRequest{OpenStdin: true}, spec.Process{Args: []string{"cat"}})
	text := strings.Repeat("x", 300<<10)
	go func() {
		if _, err := s.Write([]byte(text)); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := s.CloseStdin(); err != nil {
			t.Errorf("CloseStdin: %v", err)
		}
	}()

	if stdout, _ := readAll(t, s); stdout != text {
		t.Errorf("got %d bytes back, want %d", len(stdout), len(text))
	}

	c.wantCode(s, 0)
}

func TestExecTerminalResize(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.sleeper(name)
		s := c.exec(runtime.ExecRequest{OpenStdin: true},
			spec.Process{Args: []string{"sh"}, TTY: true, Rows: 25, Cols: 90})
		if err := s.Resize(50, 132); err != nil { // runc forwards the size later
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("tty; until stty size | grep 132; do sleep 0.05; done; exit 9\n")); err != nil {
			t.Fatal(err)
		}
		if stdout, _ := readAll(t, s); !strings.Contains(stdout, "/dev/pts/") ||
			!strings.Contains(stdout, "50 132\r\n") {
			t.Errorf("%s: got output %q", name, stdout)
		}
		c.wantCode(s, 9)
	}
}

func TestExecFaultsMatchDocker(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.sleeper(name)
		for command, want := range map[string]string{"nosuch": fault.ReasonCommandNotFound,
			"/bin": fault.ReasonCommandNotExecutable} {
			for _, req := range []runtime.ExecRequest{{}, {Detach: true}} {
				for _, tty := range []bool{false, true} {
					req.ID, req.Process = c.id, c.execProcess(spec.Process{Args: []string{command}, TTY: tty})
					_, err := h.driver.Exec(h.ctx, req)
					if fault.ReasonOf(err) != want || !strings.Contains(err.Error(), `exec: "`+command+`": `) {
						t.Errorf("%s: %s detached %v, terminal %v: %v; want %s", name, command, req.Detach, tty, err,
							want)
					}
				}
			}
		}
	}
}

func TestExplainedExecErrorsDoNotWait(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	missing := fault.New(fault.Invalid, "container web", "not found", fault.WithReason(fault.ReasonCommandNotFound))
	for _, c := range []struct {
		ctx   context.Context
		err   error
		waits bool
	}{{t.Context(), missing, false}, {canceled, context.Canceled, false}, {t.Context(), os.ErrClosed, true}} {
		if got := runtime.EndingLimit(c.ctx, c.err); got > 0 != c.waits {
			t.Errorf("got a wait of %s after %v, want a wait: %v", got, c.err, c.waits)
		}
	}
}

func TestExecIsSignaled(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	s := c.exec(runtime.ExecRequest{}, spec.Process{Args: []string{"sleep", "1000"}})
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.wantCode(s, 128+15)
}

// A client that disconnects leaves the process its terminal, and its output is still read.
func TestExecOutlivesSession(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.sleeper(name)
		for _, tty := range []bool{false, true} {
			s := c.exec(runtime.ExecRequest{OpenStdin: true}, spec.Process{TTY: tty, Args: []string{"sh", "-c",
				"until [ -e /tmp/go ]; do sleep 0.05; done; seq 100000; seq 10000 >&2; touch /tmp/wrote; exit 7"}})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read after Close: %v", err)
			}
			if err := os.WriteFile(filepath.Join(h.rootfs, "tmp/go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.wantCode(s, 7)
			for _, mark := range []string{"tmp/wrote", "tmp/go"} {
				if err := os.Remove(filepath.Join(h.rootfs, mark)); err != nil {
					t.Errorf("%s with terminal %v: %v", name, tty, err)
				}
			}
		}
	}
}

func TestExecInputEndsWithSession(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	s := c.exec(runtime.ExecRequest{OpenStdin: true}, spec.Process{Args: []string{"cat"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.wantCode(s, 0)
}

func TestDetachedExecReportsExit(t *testing.T) {
	h := newHost(t)
	for _, name := range runtimes(t, h) {
		c := h.sleeper(name)
		s := c.exec(runtime.ExecRequest{Detach: true},
			spec.Process{Args: []string{"sh", "-c",
				"touch /tmp/began; until [ -e /tmp/go ]; do sleep 0.05; done; exit 7"}, TTY: true})
		waitFor(t, "the detached process", func() bool {
			_,
				err := os.Stat(filepath.Join(h.rootfs, "tmp/began"))
			return err == nil
		})
		if err := os.WriteFile(filepath.Join(h.rootfs, "tmp/go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		switch code, err := s.Wait(h.ctx); {
		case errors.Is(err, runtime.ErrExitUnknown) && !reportsExitCodes(t):
		case err != nil || code != 7:
			t.Errorf("%s: got exit code %d, %v; want 7", name, code, err)
		}
		for _, mark := range []string{"tmp/began", "tmp/go"} {
			if err := os.Remove(filepath.Join(h.rootfs, mark)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// reportsExitCodes reports whether the kernel reports exit codes to processes other than the parent
// (since Linux 6.15).
func reportsExitCodes(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}

func TestExecDoesNotWaitForDescendants(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	s := c.exec(runtime.ExecRequest{}, spec.Process{Args: []string{"sh", "-c", "sleep 1000 & echo started"}})
	if stdout, _ := readAll(t, s); stdout != "started\n" {
		t.Errorf("got output %q", stdout)
	}
	c.wantCode(s, 0)
}

func TestExecNeedsRunningContainer(t *testing.T) {
	h := newHost(t)
	c := h.container("true").mustCreate().start()
	c.wantExit(0)
	_, err := h.driver.Exec(h.ctx, runtime.ExecRequest{ID: c.id,
		Process: c.execProcess(spec.Process{Args: []string{"true"}})})
	if !fault.Is(err, fault.Busy) {
		t.Errorf("Exec: got %v, want busy", err)
	}
}

// Whatever the runtime reports about a container that ends meanwhile, the error says that it ended.
func TestExecIntoEndingContainer(t *testing.T) {
	h := newHost(t)
	for range 5 {
		c := h.sleeper("")
		done := make(chan error)
		for range 2 {
			go func() {
				for {
					s, err := h.driver.Exec(h.ctx, runtime.ExecRequest{ID: c.id,
						Process: c.execProcess(spec.Process{Args: []string{"true"}})})
					if err != nil {
						done <- err
						return
					}
					_ = s.Close()
				}
			}()
		}
		c.kill()
		for range 2 {
			if err := <-done; !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "is not running") {
				t.Errorf("got %v", err)
			}
		}
		c.wantExit(137)
	}
}

func TestExecConfinementEqualsContainer(t *testing.T) {
	h := newHost(t)
	c := h.sleeper("")
	s := c.exec(runtime.ExecRequest{}, spec.Process{Args: []string{"sh", "-c",
		"grep -E '^(Seccomp|CapBnd|CapEff):' /proc/self/status; grep -c fairlead-test /proc/self/cgroup; " +
			"hostname; mount -t tmpfs x /tmp 2>/dev/null || echo refused"}})
	stdout, _ := readAll(t, s)
	for _, want := range []string{"Seccomp:\t2\n", "CapBnd:\t00000000a80425fb\n", "CapEff:\t00000000a80425fb\n",
		"\nbox\n", "refused\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got output %q, want it to contain %q", stdout, want)
		}
	}
}
