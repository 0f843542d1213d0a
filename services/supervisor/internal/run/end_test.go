package run_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

// bounded returns a context with the time limit of a test.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

func (h *host) launch(t *testing.T, name string) *launch.Launched {
	t.Helper()
	req := request(name)
	req.Config.Network.Publish = nil
	launched, err := h.runner.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return launched
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testLimit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout waiting for %s", what)
		}
	}
}

// After the exit is reported, the container is exited and can be removed or started immediately,
// although its cleanup is incomplete.
func TestExitReportedWhenStored(t *testing.T) {
	for what, use := range map[string]func(*host) error{
		"rm":    func(h *host) error { return h.runner.Remove(context.Background(), "web", false, false) },
		"start": func(h *host) error { _, err := h.runner.Start(context.Background(), "web", false, 0, 0); return err },
	} {
		h := newHost(t)
		launched := h.launch(t, "web")
		h.set(func() { h.clearing = make(chan struct{}) })
		h.exit(launched.Container.ID, 7)
		if _, err := h.runner.ExitOf(bounded(t), launched); err != nil {
			t.Fatal(err)
		}
		if c, err := h.runner.Find("web"); err != nil || c.Status != container.Exited || c.ExitCode != 7 {
			t.Errorf("got %+v, %v", c, err)
		}
		done := make(chan error, 1)
		go func() { done <- use(h) }()
		close(h.clearing)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Stop, kill and remove succeed if the process has exited and the runner does not know it yet.
func TestCommandsSucceedOnExitingContainer(t *testing.T) {
	for what, use := range map[string]func(*run.Runner) error{
		"stop":    func(r *run.Runner) error { return r.Stop(context.Background(), "web", nil, "") },
		"kill":    func(r *run.Runner) error { return r.Kill(context.Background(), "web", "") },
		"kill -s": func(r *run.Runner) error { return r.Kill(context.Background(), "web", "HUP") },
		"rm -f":   func(r *run.Runner) error { return r.Remove(context.Background(), "web", true, false) },
		"restart": func(r *run.Runner) error { _, err := r.Restart(context.Background(), "web", nil, ""); return err },
	} {
		h := newHost(t)
		uid := h.launch(t, "web").Container.ID
		known := make(chan struct{})
		h.set(func() { h.late = func() { <-known } })
		go h.exit(uid, 0)
		eventually(t, "the end", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return !h.alive[uid] })
		done := make(chan error, 1)
		go func() { done <- use(h.runner) }()
		time.Sleep(5 * time.Millisecond)
		close(known)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStopCompletesWithoutClient(t *testing.T) {
	h := newHost(t)
	h.ignoreStop = true
	uid := h.launch(t, "web").Container.ID
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	soon := 50 * time.Millisecond
	go func() { stopped <- h.runner.Stop(ctx, "web", &soon, "") }()
	eventually(t, "the stop signal", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.signals) > 0 })
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: got %v", err)
	}

	eventually(t, "the end", func() bool {
		c, err := h.runner.Find("web")
		return err == nil &&
			c.Status == container.Exited
	})

	h.eventuallyHeld(t, uid)
}

func TestFailedReleaseIsRetried(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}

	h.down("ports", true)
	if err := h.runner.Stop(t.Context(), "web", nil, ""); err == nil {
		t.Error("stop: got no error with an unreleased port")
	}

	h.wantHeld(t, launched.Container.ID, "ports")
	h.down("ports", false)
	h.eventuallyHeld(t, launched.Container.ID)
	h.down("ports", true)
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	if err := h.runner.Remove(t.Context(), "web", true, false); err == nil {
		t.Error("rm -f: got no error with an unreleased port")
	}

	h.down("ports", false)
	eventually(t, "the removal", func() bool { _, err := h.runner.Find("web"); return fault.Is(err, fault.NotFound) })
	h.wantHeld(t, launched.Container.ID)
}

// refuseWrites makes every file write of this process fail, as on a full disk, until allow is
// called.
func refuseWrites(t *testing.T) (allow func()) {
	t.Helper()

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}

	set := func(l unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}

	set(unix.Rlimit{Cur: 0, Max: before.Max})
	t.Cleanup(func() { set(before) })
	return func() { set(before) }
}

// A disk that is full when a container ends changes nothing of what is said of it, and hides
// nothing for good.
func TestUnstoredExitIsReportedAndRetried(t *testing.T) {
	h := newHost(t)
	launched := h.launch(t, "web")
	uid := launched.Container.ID
	allow := refuseWrites(t)
	h.exit(uid, 7)
	if exit, err := h.runner.ExitOf(bounded(t), launched); err != nil || exit.Code != 7 {
		t.Errorf("got exit %+v, %v", exit, err)
	}

	if c, err := h.runner.Find("web"); err != nil || c.Status != container.Exited || c.ExitCode != 7 {
		t.Errorf("got %+v, %v", c, err)
	}

	if held := h.heldBy(uid); !slices.Equal(held, []string{"bundle", "mount"}) {
		t.Errorf("got %v held, want only bundle and mount", held)
	}

	if err := h.runner.Stop(bounded(t), "web", nil, ""); err != nil {
		t.Errorf("stop: got %v", err)
	}

	if _, err := h.runner.Start(bounded(t), "web", false, 0, 0); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "disk") {
		t.Errorf("start: got %v", err)
	}

	allow()
	h.eventuallyHeld(t, uid)
	h.crash(t)
	if c, err := h.runner.Find("web"); err != nil || c.Status != container.Exited || c.ExitCode != 7 {
		t.Errorf("stored: got %+v, %v", c, err)
	}
}

func TestUnstoredExitFoundAfterRestart(t *testing.T) {
	h := newHost(t)
	uid := h.launch(t, "web").Container.ID
	allow := refuseWrites(t)
	h.exit(uid, 7)
	eventually(t, "the end", func() bool {
		c, err := h.runner.Find("web")
		return err == nil &&
			c.Status == container.Exited
	})

	h.runner.Close()
	allow()
	h.crash(t)
	if c, _ := h.runner.Find("web"); c.Status != container.Running {
		t.Fatalf("got %+v, want no stored exit", c)
	}

	h.exitWhileDown(uid, 7)
	if err := h.runner.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}

	if c, err := h.runner.Find("web"); err != nil || c.Status != container.Exited || c.ExitCode != 7 {
		t.Errorf("got %+v, %v", c, err)
	}

	h.wantHeld(t, uid)
}

// A request that a crash of the supervisor interrupted is completed after its restart.
func TestRequestSurvivesSupervisorCrash(t *testing.T) {
	long := time.Minute
	for name, c := range map[string]struct {
		request func(*run.Runner)
		done    func(*container.Container, error) bool
	}{
		"stop": {func(r *run.Runner) { _ = r.Stop(context.Background(), "web", &long, "") },
			func(c *container.Container, err error) bool { return err == nil && c.Status == container.Exited }},
		"restart": {func(r *run.Runner) { _, _ = r.Restart(context.Background(), "web", &long, "") },
			func(c *container.Container, err error) bool { return err == nil && c.IsRunning() && c.Ending == nil }},
		"rm -f": {func(r *run.Runner) { _ = r.Remove(context.Background(), "web", true, false) },
			func(_ *container.Container, err error) bool { return fault.Is(err, fault.NotFound) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.ignoreStop = true
			uid := h.launch(t, "web").Container.ID
			h.set(func() { h.late = func() { <-t.Context().Done() } }) // this supervisor does not receive the exit
			go c.request(h.runner)
			eventually(t, "the stored request",
				func() bool { c, err := h.store.GetContainer(uid); return err == nil && c.Ending != nil })
			h.crash(t)
			h.set(func() { h.late, h.ignoreStop = nil, false })
			if err := h.runner.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.runner.Resume()
			eventually(t, "the completion", func() bool { return c.done(h.runner.Find("web")) })
			if name == "rm -f" {
				h.eventuallyHeld(t, uid)
			}
		})
	}
}

// A restart is completed even if the container is already stopped after the crash.
func TestResumeCompletesRestartAfterStop(t *testing.T) {
	h := newHost(t)
	uid := h.launch(t, "web").Container.ID
	if err := h.runner.Stop(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if _, err := h.store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		return c.Wanted(container.Ending{Goal: container.GoalRestarted})
	}); err != nil {
		t.Fatal(err)
	}

	h.crash(t)
	if err := h.runner.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.runner.Resume()
	eventually(t, "the start", func() bool { c, err := h.runner.Find("web"); return err == nil && c.IsRunning() })
}

// A temporary failure inside a restart does not leave the container stopped.
func TestRestartSurvivesTemporaryFailure(t *testing.T) {
	for name, fail := range map[string]func(h *host){
		"start":   func(h *host) { h.fails("join network", 2) },
		"process": func(h *host) { h.fails("create process", 1) },
		"release": func(h *host) {
			h.down("ports", true)
			time.AfterFunc(150*time.Millisecond, func() { h.down("ports", false) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if _, err := h.runner.Run(t.Context(), request("web")); err != nil {
				t.Fatal(err)
			}
			fail(h)
			if _, err := h.runner.Restart(bounded(t), "web", nil, ""); err != nil {
				t.Errorf("got %v", err)
			}
			if c, err := h.runner.Find("web"); err != nil || !c.IsRunning() || c.Ending != nil {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

// A restart whose start keeps failing stores why, in one error. A stop ends the retries.
func TestStopEndsRetriesOfRestart(t *testing.T) {
	h := newHost(t)
	uid := h.launch(t, "web").Container.ID
	h.fails("join network", 1000)
	restarted := make(chan error, 1)
	go func() { _, err := h.runner.Restart(context.Background(), "web", nil, ""); restarted <- err }()
	eventually(t, "the first failure", func() bool {
		c, err := h.store.GetContainer(uid)
		return err == nil && c.Error != ""
	})
	if err := h.runner.Stop(bounded(t), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if err := <-restarted; err == nil || !strings.Contains(err.Error(), "join network: fails in this test") {
		t.Errorf("got %v", err)
	}

	if c, err := h.store.GetContainer(uid); err != nil || c.Ending != nil || c.IsRunning() || c.Error == "" {
		t.Errorf("got %+v, %v", c, err)
	}
}

// A container that cannot be started again is not stopped by a restart.
func TestRestartChecksBeforeStop(t *testing.T) {
	h := newHost(t)
	source := t.TempDir()
	req := request("web")
	req.Config.Mounts = []container.Mount{{Source: source, Target: "/x"}}
	launched, err := h.runner.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(source); err != nil {
		t.Fatal(err)
	}

	if _, err := h.runner.Restart(bounded(t), "web", nil, ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}

	if c, err := h.runner.Find("web"); err != nil || !c.IsRunning() || c.Live.PID != launched.Container.Live.PID {
		t.Errorf("got %+v, %v", c, err)
	}
}

// A restart that meets an unavailable service is completed when the service is available.
func TestRestartIsCompletedLater(t *testing.T) {
	h := newHost(t)
	h.launch(t, "web")
	h.fails("join network", 0)
	_, err := h.runner.Restart(bounded(t), "web", nil, "")
	const want = "container web: is stopped; its start is retried for 2m0s: join network"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}

	if c, err := h.runner.Find("web"); err != nil || c.IsRunning() || c.Error == "" {
		t.Errorf("got %+v, %v", c, err)
	}

	h.set(func() { h.fail = "" })
	eventually(t, "the start", func() bool { c, err := h.runner.Find("web"); return err == nil && c.IsRunning() })
}

func TestFailedRequestIsNotRepeated(t *testing.T) {
	h := newHost(t)
	uid := h.launch(t, "web").Container.ID
	h.set(func() { h.fail, h.failKind = "join network", fault.Exhausted })
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err == nil {
		t.Fatal("restarted")
	}
	if c, err := h.store.GetContainer(uid); err != nil || c.Ending != nil {
		t.Errorf("got %+v, %v", c, err)
	}
}
