package runtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/agent/test/testcgroup"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/sink"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

func TestMain(m *testing.M) { os.Exit(testcgroup.Run(m)) }

// testTimeout limits every wait of these tests.
const testTimeout = 30 * time.Second

// host is a test host with a driver.
type host struct {
	t      testing.TB
	ctx    context.Context
	root   string // exec root
	rootfs string
	cgroup cgroup.Layout
	driver *runtime.Driver
	exits  chan runtime.Exit
	netns  string
}

func newHost(t testing.TB) *host {
	t.Helper()
	testcgroup.Need(t)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*testTimeout)
	t.Cleanup(cancel)
	layout, err := cgroup.Detect(ctx)
	if err != nil {
		t.Fatal(err)
	}

	layout.Parent = testcgroup.Parent()
	h := &host{t: t, ctx: ctx, root: execRoot(t), rootfs: testcgroup.Busybox(t), cgroup: layout,
		netns: testns.New(t).Path()}
	h.drive()
	t.Cleanup(h.clear)
	return h
}

// execRoot returns an exec root on a tmpfs, as on a real host.
func execRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fairlead-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// drive starts a driver on the host's roots, like an agent that starts.
func (h *host) drive() {
	h.t.Helper()
	exits := make(chan runtime.Exit, 100)
	d, err := runtime.New(h.ctx, runtime.Config{ExecRoot: h.root, Cgroup: h.cgroup, Log: slog.New(slog.DiscardHandler),
		OnExit: func(e runtime.Exit) { exits <- e }})
	if err != nil {
		h.t.Fatal(err)
	}
	h.driver, h.exits = d, exits
}

// clear removes all containers of a test.
func (h *host) clear() {
	ids, err := h.driver.IDs()
	for _, uid := range ids {
		err = errors.Join(err, h.driver.Delete(context.Background(), uid))
	}
	if err := errors.Join(err, h.driver.Close()); err != nil {
		h.t.Error(err)
	}
}

// ctr is a container of a test.
type ctr struct {
	*host
	id   string
	l    runtime.Launch
	opts spec.Options
}

func (h *host) container(args ...string) *ctr {
	uid := id.New()
	return &ctr{host: h, id: uid,
		l: runtime.Launch{ID: uid, Output: sink.Sink{Path: filepath.Join(h.root, uid+".log")}},
		opts: spec.Options{
			Process: spec.Process{Args: args, User: users.User{Home: "/root"}},
			Rootfs:  h.rootfs, Hostname: "box", NetNS: h.netns,
			CgroupPath: h.cgroup.Path(uid), Host: spec.Host{CgroupV2: h.cgroup.Mode == cgroup.V2}}}
}

func (c *ctr) spec() *specs.Spec {
	c.t.Helper()
	s, err := spec.Build(c.opts)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// create prepares and creates the container. Terminals are set as in the launch.
func (c *ctr) create() error {
	c.t.Helper()
	c.opts.Process.TTY = c.l.TTY
	p, err := c.driver.Prepare(c.ctx, c.l)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = p.Create(c.ctx, c.spec())
	return err
}

func (c *ctr) mustCreate() *ctr {
	c.t.Helper()
	if err := c.create(); err != nil {
		c.t.Fatal(err)
	}
	return c
}

func (c *ctr) start() *ctr {
	c.t.Helper()
	if err := c.driver.Start(c.ctx, c.id); err != nil {
		c.t.Fatal(err)
	}
	return c
}

func (c *ctr) attach() *runtime.Attachment {
	c.t.Helper()
	a, err := c.driver.Attach(c.ctx, c.id)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// exit waits for the reported exit of the container.
func (c *ctr) exit() runtime.Exit {
	c.t.Helper()
	select {
	case e := <-c.exits:
		if e.ID != c.id {
			c.t.Errorf("got exit of %s, want %s", e.ID, c.id)
		}
		return e
	case <-time.After(testTimeout):
		c.t.Fatal("timeout waiting for the exit")
	}
	return runtime.Exit{}
}

func (c *ctr) wantExit(code int) {
	c.t.Helper()
	if e := c.exit(); e.Code != code || e.Unknown || e.OOM || time.Since(e.At) > testTimeout {
		c.t.Errorf("got exit %+v, want code %d", e, code)
	}
}

func (c *ctr) kill() {
	c.t.Helper()
	if err := c.driver.Signal(c.ctx, c.id, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}

// reader is an Attachment or an ExecSession.
type reader interface{ Read() (runtime.Frame, error) }

// readAll reads until the end of the output.
func readAll(t testing.TB, r reader) (stdout, stderr string) {
	t.Helper()
	out := readUntil(t, r, func(string, string) bool { return false })
	return out[runtime.Stdout], out[runtime.Stderr]
}

// readUntil reads until enough returns true or the output ends.
func readUntil(t testing.TB, r reader, enough func(stdout, stderr string) bool) map[runtime.Stream]string {
	t.Helper()
	done := make(chan map[runtime.Stream]string, 1)
	go func() {
		out := map[runtime.Stream]string{}
		for {
			f, err := r.Read()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("Read: %v", err)
				}
				done <- out
				return
			}
			out[f.Stream] += string(f.Data)
			if enough(out[runtime.Stdout], out[runtime.Stderr]) {
				done <- out
				return
			}
		}
	}()

	select {
	case out := <-done:
		return out
	case <-time.After(testTimeout):
		t.Fatal("timeout waiting for the end of the output")
	}

	return nil
}

// waitOutput reads until the output contains a text.
func waitOutput(t testing.TB, r reader, text string) {
	t.Helper()
	out := readUntil(t, r, func(stdout, _ string) bool { return strings.Contains(stdout, text) })
	if !strings.Contains(out[runtime.Stdout], text) {
		t.Fatalf("got output %q, want it to contain %q", out[runtime.Stdout], text)
	}
}

// nothingLeft checks that everything of a container is removed.
func (c *ctr) nothingLeft() {
	c.t.Helper()
	if ids, err := c.driver.IDs(); err != nil || len(ids) > 0 {
		c.t.Errorf("IDs not removed: %v, %v", ids, err)
	}
	for _, m := range c.cgroup.Mounts {
		if _, err := os.Stat(filepath.Join(m, c.cgroup.Path(c.id))); !errors.Is(err, os.ErrNotExist) {
			c.t.Errorf("cgroup not removed in %s", m)
		}
	}
}

func (c *ctr) remove() {
	c.t.Helper()
	for range 2 {
		if err := c.driver.Delete(c.ctx, c.id); err != nil {
			c.t.Error(err)
		}
	}
}

func TestShortLivedContainerOutputAndExit(t *testing.T) {
	h := newHost(t)
	for range 5 {
		c := h.container("sh", "-c", "echo out; echo err >&2; exit 7")
		c.l.Attach = true
		a := c.mustCreate().attach()
		c.start()
		if stdout, stderr := readAll(t, a); stdout != "out\n" || stderr != "err\n" {
			t.Errorf("got output %q and %q", stdout, stderr)
		}
		_ = a.Close()
		c.wantExit(7)
		c.remove()
		c.nothingLeft()
		if log, err := os.ReadFile(c.l.Output.Path); err != nil || !strings.Contains(string(log), " stdout F out\n") ||
			!strings.Contains(string(log), " stderr F err\n") {
			t.Errorf("got log %q, %v", log, err)
		}
	}
}

func TestSignalSetsExitCode(t *testing.T) {
	h := newHost(t)
	c := h.container("sleep", "1000").mustCreate().start()
	c.kill()
	c.wantExit(128 + 9)
	if err := c.driver.Signal(c.ctx, c.id, syscall.SIGTERM); !errors.Is(err, runtime.ErrEnded) {
		t.Errorf("signal to an ended container: got %v", err)
	}

	c.remove()
	c = h.container("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
	c.l.Attach = true
	a := c.mustCreate().attach()
	c.start()
	waitOutput(t, a, "ready")
	if err := c.driver.Signal(c.ctx, c.id, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	c.wantExit(3)
}

func TestCommandFaultsMatchDocker(t *testing.T) {
	h := newHost(t)
	if err := os.WriteFile(filepath.Join(h.rootfs, "bin/plain"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, runtimeName := range []string{"crun", "runc"} {
		if _, err := h.driver.Runtime(runtimeName); err != nil {
			if os.Getenv("CI") != "" {
				t.Error(err)
			}
			continue
		}
		for command, want := range map[string]struct{ reason, message string }{
			"nosuch":      {fault.ReasonCommandNotFound, `exec: "nosuch": executable file not found in $PATH`},
			"/nosuch":     {fault.ReasonCommandNotFound, `exec: "/nosuch": stat /nosuch: no such file or directory`},
			"/bin/plain":  {fault.ReasonCommandNotExecutable, `exec: "/bin/plain": permission denied`},
			"/bin":        {fault.ReasonCommandNotExecutable, `exec: "/bin": permission denied`},
			"../bin/none": {fault.ReasonCommandNotFound, `exec: "../bin/none": stat ../bin/none: no such file or directory`},
		} {
			c := h.container(command)
			c.l.Runtime, c.l.Attach = runtimeName, true
			err := c.create()
			if fault.ReasonOf(err) != want.reason || !strings.Contains(err.Error(), want.message) {
				t.Errorf("%s %s: got %v; want %s, reason %s", runtimeName, command, err, want.message, want.reason)
			}
			c.nothingLeft()
		}
	}
}
