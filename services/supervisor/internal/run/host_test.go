package run_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// host fakes the environment of a Runner. It records held resources, fails a chosen step, and ends
// processes.
type host struct {
	runner     *run.Runner
	execSize   atomic.Pointer[specs.Box] // terminal size of the last exec
	dir        string
	fail       string     // the step that fails
	failures   int        // how often it fails; 0 means always
	failKind   fault.Kind // 0 means Unavailable
	reason     string     // of the failure
	ignoreStop bool       // processes exit only after SIGKILL

	mu          sync.Mutex
	held        map[string]map[string]bool // owner to resources
	away        map[string]bool            // resources of unavailable services
	ended       map[string]runtime.Exit    // exits while the runner was down
	lost        map[string]bool
	signals     []string
	asked       []*networkv1.CreateSandboxRequest
	forwardedTo []string // addresses that ports were published at
	known       []*dnsv1.UpdateRequest
	renumbering *renumbering // a network that is being renumbered
	store       *store.Store
	slow        chan struct{} // if not nil, the firewall check waits until it is closed

	alive     map[string]bool      // containers with a running process
	lifetimes func() time.Duration // of processes; nil means until they are killed
	// late is called between the exit of a process and OnExit; may be nil
	late     func()
	clearing chan struct{} // if not nil, Delete waits until it is closed

	published      []*natv1.PortBinding // bindings that natagent returns
	onPublished    func()               // called after UpdatePublication; may be nil
	onNamesUpdated func()               // called after Update; may be nil
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir(), held: map[string]map[string]bool{}, away: map[string]bool{},
		ended: map[string]runtime.Exit{}, lost: map[string]bool{}, alive: map[string]bool{}}
	h.open(t)
	t.Cleanup(func() { h.runner.Close(); _ = h.store.Close() })
	return h
}

func (h *host) open(t *testing.T) {
	t.Helper()

	var err error
	if h.store, err = store.Open(h.dir); err != nil {
		t.Fatal(err)
	}

	if _, err := h.store.AddImages(busybox()); err != nil {
		t.Fatal(err)
	}

	if h.runner != nil {
		h.runner.Close()
	}

	h.runner = run.New(run.Config{DataRoot: h.dir, Log: slog.New(slog.DiscardHandler), Store: h.store,
		Images: fakeImages{h}, RootFS: fakeRootFS{h},
		Processes: fakeProcesses{h}, Agents: agents.New(agents.Config{Networks: fakeNetworks{},
			Sandboxes: fakeSandboxes{h: h}, Publications: fakePublications{h: h},
			Policies: fakePolicies{}, Names: fakeNames{h: h}})})
}

// crash replaces the runner by a new one on the same store, without a shutdown.
func (h *host) crash(t *testing.T) {
	t.Helper()
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t)
}

func (h *host) hold(uid, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[uid] == nil {
		h.held[uid] = map[string]bool{}
	}
	h.held[uid][what] = true
}

// drop releases a resource. It fails if the service is unavailable.
func (h *host) drop(uid, what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away[what] {
		return fault.New(fault.Unavailable, what, "is unavailable")
	}
	delete(h.held[uid], what)
	return nil
}

func (h *host) down(what string, away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away[what] = away
}

func (h *host) holders(what string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for uid, all := range h.held {
		if all[what] {
			out = append(out, uid)
		}
	}
	return out
}

// heldBy lists the resources of an owner, or of all owners if uid is empty.
func (h *host) heldBy(uid string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for owner, what := range h.held {
		if owner == uid || uid == "" {
			maps.Copy(all, what)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (h *host) wantHeld(t *testing.T, uid string, want ...string) {
	t.Helper()
	if got := h.heldBy(uid); !slices.Equal(got, want) {
		t.Errorf("got %v held, want %v", got, want)
	}
}

func (h *host) eventuallyHeld(t *testing.T, uid string, want ...string) {
	t.Helper()
	for end := time.Now().Add(testLimit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if slices.Equal(h.heldBy(uid), want) {
			return
		}
	}
	h.wantHeld(t, uid, want...)
}

// set changes fields while the fakes are in use.
func (h *host) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// fails makes a step fail some times.
func (h *host) fails(step string, times int) { h.set(func() { h.fail, h.failures = step, times }) }

// step returns an error if the step is to fail.
func (h *host) step(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail == name {
		if h.failures--; h.failures == 0 {
			h.fail = ""
		}
		return fault.New(cmp.Or(h.failKind, fault.Unavailable), name, "fails in this test", fault.WithReason(h.reason))
	}
	return nil
}

// exit ends a container process.
func (h *host) exit(uid string, code int) {
	h.mu.Lock()
	alive := h.alive[uid]
	delete(h.alive, uid)
	h.mu.Unlock()
	if !alive {
		return
	}

	h.mu.Lock()
	late := h.late
	h.mu.Unlock()
	if late != nil {
		late()
	}

	h.runner.OnExit(runtime.Exit{ID: uid, Code: code, At: time.Now()})
}

// starts records a process, which exits by itself if lifetimes is set.
func (h *host) starts(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive[uid] = true
	if h.lifetimes != nil {
		time.AfterFunc(h.lifetimes(), func() { h.exit(uid, 0) })
	}
}

func (h *host) lose(uid string) { h.lost[uid] = true }

func (h *host) exitWhileDown(uid string, code int) {
	h.ended[uid] = runtime.Exit{ID: uid, Code: code, At: time.Now()}
}

func (h *host) markLaunching(t *testing.T, uid string) {
	t.Helper()
	if _, err := h.store.UpdateContainer(uid,
		func(c *container.Container) *container.Container { return c.InStatus(container.Launching) }); err != nil {
		t.Fatal(err)
	}
}

func busybox() *store.Image {
	return &store.Image{ID: "sha256:00", Tags: []string{"docker.io/library/busybox:latest"},
		Config: []byte(`{"config":{}}`)}
}

type fakeImages struct{ h *host }

func (f fakeImages) Resolve(string, string) (*store.Image, error) { return busybox(), nil }

func (f fakeImages) Pull(context.Context, image.PullRequest) (*store.Image, error) {
	return busybox(), nil
}

func (f fakeImages) LayerPaths(*store.Image) []string { return nil }

type fakeRootFS struct{ h *host }

func (f fakeRootFS) Mount(_ context.Context, uid string, _ []string) (string, error) {
	f.h.hold(uid, "mount")
	dir := filepath.Join(f.h.dir, "rootfs-"+uid)
	return dir, errors.Join(os.MkdirAll(dir, 0o755), f.h.step("prepare rootfs"))
}
func (f fakeRootFS) Unmount(uid string) error   { return f.h.drop(uid, "mount") }
func (f fakeRootFS) Remove(uid string) error    { return f.h.drop(uid, "mount") }
func (f fakeRootFS) Mounted() ([]string, error) { return f.h.holders("mount"), nil }
func (f fakeRootFS) Path(string) string         { return "/" }

func (f fakeRootFS) Upper(string) string { return "/" }

func (f fakeRootFS) MountImage(string, int, []string) (string, error) { return "/", nil }

func (f fakeRootFS) UnmountImages(string, int) error { return nil }

type fakeProcesses struct{ h *host }

func (f fakeProcesses) Runtime(string) (string, error) { return "/usr/bin/crun", nil }

func (f fakeProcesses) Prepare(_ context.Context, l runtime.Launch) (launch.Monitor, error) {
	f.h.hold(l.ID, "bundle")
	return fakeMonitor(f), f.h.step("start monitor")
}
func (f fakeProcesses) Start(_ context.Context, uid string) error {
	if err := f.h.step("start process"); err != nil {
		return err
	}
	f.h.starts(uid)
	return nil
}
func (f fakeProcesses) Delete(_ context.Context, uid string) error {
	f.h.mu.Lock()
	clearing := f.h.clearing
	f.h.mu.Unlock()
	if clearing != nil {
		<-clearing
	}
	return f.h.drop(uid, "bundle")
}
func (f fakeProcesses) IDs() ([]string, error) { return f.h.holders("bundle"), nil }

func (f fakeProcesses) Signal(_ context.Context, uid string, sig syscall.Signal) error {
	f.h.mu.Lock()
	f.h.signals = append(f.h.signals, sig.String())
	alive, ignoreStop := f.h.alive[uid], f.h.ignoreStop
	f.h.mu.Unlock()
	if !alive {
		return runtime.ErrEnded
	}
	if sig == syscall.SIGKILL || !ignoreStop {
		f.h.exit(uid, 128+int(sig))
	}
	return nil
}

func (f fakeProcesses) Stop(ctx context.Context, uid string, sig syscall.Signal) error {
	return f.Signal(ctx, uid, sig)
}

func (f fakeProcesses) Kill(ctx context.Context, uid string) error {
	if err := f.Signal(ctx, uid, syscall.SIGKILL); !errors.Is(err, runtime.ErrEnded) {
		return err
	}
	return nil
}

func (f fakeProcesses) Resize(context.Context, string, uint16, uint16) error {
	return f.h.step("resize")
}
func (f fakeProcesses) Update(context.Context, string, *specs.LinuxResources) error {
	return f.h.step("update process")
}
func (f fakeProcesses) Pause(context.Context, string) error   { return f.h.step("pause") }
func (f fakeProcesses) Unpause(context.Context, string) error { return f.h.step("unpause") }

func (f fakeProcesses) Attach(context.Context, string) (launch.Output, error) {
	return fakeOutput{}, f.h.step("attach output")
}

func (f fakeProcesses) Exec(_ context.Context, req runtime.ExecRequest) (session.Session, error) {
	f.h.execSize.Store(req.Process.ConsoleSize)
	return fakeSession{code: len(req.Process.Args), detached: req.Detach}, f.h.step("exec")
}

func (f fakeProcesses) Adopt(_ context.Context, uid string) (runtime.AdoptResult, error) {
	if e, ok := f.h.ended[uid]; ok {
		return runtime.AdoptResult{State: runtime.Ended, Exit: e}, nil
	}
	if f.h.lost[uid] || !slices.Contains(f.h.heldBy(uid), "bundle") {
		return runtime.AdoptResult{State: runtime.Gone}, nil
	}
	f.h.mu.Lock()
	f.h.alive[uid] = true
	f.h.mu.Unlock()
	return runtime.AdoptResult{State: runtime.Alive, PID: 42}, nil
}

type fakeMonitor struct{ h *host }

func (f fakeMonitor) Create(context.Context, *specs.Spec) (int, error) {
	return 42, f.h.step("create process")
}

type fakeOutput struct{}

func (fakeOutput) Read() (runtime.Frame, error) { return runtime.Frame{}, io.EOF }
func (fakeOutput) Write(p []byte) (int, error)  { return len(p), nil }
func (fakeOutput) CloseStdin() error            { return nil }
func (fakeOutput) Resize(uint16, uint16) error  { return nil }
func (fakeOutput) Close() error                 { return nil }

// fakeSession has the number of arguments as exit code, unknown if it is detached.
type fakeSession struct {
	fakeOutput
	code     int
	detached bool
}

func (fakeSession) Signal(syscall.Signal) error { return nil }
func (fakeSession) Kill() error                 { return nil }
func (fakeSession) PID() int                    { return 43 }
func (s fakeSession) Wait(context.Context) (int, error) {
	if s.detached {
		return 0, runtime.ErrExitUnknown
	}
	return s.code, nil
}
