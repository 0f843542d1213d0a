package netagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/api/natagenttest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// waitTimeout limits every wait of a test.
const waitTimeout = time.Minute

// host is a network namespace with the root directories of one agent.
type host struct {
	t     testing.TB
	ns    *testns.NS
	guard *natagenttest.Firewall
	cfg   Config
}

func newHost(t testing.TB) *host {
	t.Helper()
	return newHostIn(t, testns.New(t))
}

func newHostIn(t testing.TB, ns *testns.NS) *host {
	t.Helper()
	g := &natagenttest.Firewall{}
	h := &host{t: t, ns: ns, guard: g, cfg: Config{DataRoot: t.TempDir(), ExecRoot: t.TempDir(),
		Namespace: ns.Path(), Firewall: g, checkLocks: true,
		Log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}}
	t.Cleanup(h.unpinAll)
	return h
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (h *host) pins() []string {
	paths, err := filepath.Glob(filepath.Join(h.cfg.ExecRoot, "netns", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	return paths
}

func (h *host) unpinAll() {
	for _, p := range h.pins() {
		if err := kernel.Unpin(p); err != nil {
			h.t.Error(err)
		}
	}
}

// agent is a running service.
type agent struct {
	*host
	*Service
	ready chan struct{}
	ended chan error
	stop  func()
}

// start starts an agent without waiting for it. The cleanup of the test stops it.
func (h *host) start() *agent {
	h.t.Helper()
	s, err := New(context.Background(), h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{host: h, Service: s, ready: make(chan struct{}), ended: make(chan error, 1)}
	go func() { a.ended <- s.Run(ctx, func() { close(a.ready) }) }()
	stopped := false
	a.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-a.ended:
			if err != nil {
				h.t.Error(err)
			}
		case <-time.After(waitTimeout):
			h.t.Error("agent did not stop in time")
		}
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	}

	h.t.Cleanup(a.stop)
	return a
}

// run starts an agent and waits until it is ready.
func (h *host) run() *agent {
	h.t.Helper()
	a := h.start()
	select {
	case <-a.ready:
	case err := <-a.ended:
		h.t.Fatal(err)
	case <-time.After(waitTimeout):
		h.t.Fatal("agent did not become ready in time")
	}
	return a
}

// onBridge returns a request for a sandbox on the default bridge.
func onBridge(owner string) endpoint.Request {
	return endpoint.Request{Owner: owner, Mode: endpoint.Private, Endpoints: []endpoint.Spec{{Network: "bridge"}}}
}

func (a *agent) create(req endpoint.Request) endpoint.Sandbox {
	a.t.Helper()
	sb, err := a.sandboxes.Create(context.Background(), req)
	if err != nil {
		a.t.Fatal(err)
	}
	return sb
}

// container creates a sandbox on the default bridge for a new owner.
func (a *agent) container() endpoint.Sandbox {
	a.t.Helper()
	return a.create(onBridge(id.New()))
}

func (a *agent) release(sb endpoint.Sandbox) {
	a.t.Helper()
	if err := a.sandboxes.Release(context.Background(), sb.Owner, endpoint.ReleaseKeep{}); err != nil {
		a.t.Fatal(err)
	}
}

// in runs a command in a sandbox.
func (h *host) in(sb endpoint.Sandbox, args ...string) string {
	h.t.Helper()
	return h.ns.Run("nsenter", append([]string{"--net=" + sb.NetnsPath, "--"}, args...)...)
}

// reaches reports whether an address responds to connections from a namespace. The port is closed, so
// the response is a refusal.
func (h *host) reaches(nsPath string, addr string) bool {
	h.t.Helper()
	return h.reachesWithin(nsPath, addr, time.Second)
}

func (h *host) reachesWithin(nsPath string, addr string, within time.Duration) bool {
	h.t.Helper()
	return errors.Is(h.dial(nsPath, addr, within), unix.ECONNREFUSED)
}

// dial connects to a closed port and returns the error.
func (h *host) dial(nsPath string, addr string, within time.Duration) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f, err := os.Open(nsPath)
		if err != nil {
			done <- err
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		_, err = net.DialTimeout("tcp", net.JoinHostPort(addr, "9"), within)
		done <- err
	}()

	return <-done
}

// mustReach fails the test unless the address responds.
func (h *host) mustReach(nsPath string, addr string) {
	h.t.Helper()
	if err := h.dial(nsPath, addr, waitTimeout); !errors.Is(err, unix.ECONNREFUSED) {
		h.t.Errorf("%s does not reach %s: %v", nsPath, addr, err)
	}
}

// eventually waits until a condition holds.
func (h *host) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(waitTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	h.t.Fatalf("timeout waiting for: %s", what)
}

// has fails the test for each part that a text does not contain.
func has(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s has no %q:\n%s", what, p, text)
		}
	}
}

// ports returns the names of the bridge's ports.
func (h *host) ports(bridge string) []string {
	h.t.Helper()
	var names []string
	for line := range strings.Lines(h.ns.Run("ip", "-o", "link", "show", "master", bridge)) {
		names = append(names, strings.Fields(line)[1])
	}
	return names
}

// checkNoState waits until the bridge has no ports, and checks that no pins and neighbour entries remain.
func (a *agent) checkNoState() {
	a.t.Helper()
	a.eventually("the bridge has no ports", func() bool { return len(a.ports("docker0")) == 0 })
	if out := a.ns.Run("ip", "neigh", "show", "dev", "docker0", "nud", "permanent"); out != "" {
		a.t.Errorf("got neighbour entries after release: %s", out)
	}
	if pins := a.pins(); len(pins) > 0 {
		a.t.Errorf("got pins after release: %v", pins)
	}
	if all := a.sandboxes.List(); len(all) > 0 {
		a.t.Errorf("got sandboxes after release: %v", all)
	}
}
