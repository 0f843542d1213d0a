package run_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

func restarting(name, policy string, limit int) launch.Request {
	req := request(name)
	req.Config.Network.Publish = nil
	req.Config.Restart = container.RestartPolicy{Name: policy, MaximumRetryCount: limit}
	return req
}

// awaitRestarts waits until a container runs after n restarts, and returns it.
func (h *host) awaitRestarts(t *testing.T, name string, n int) *container.Container {
	t.Helper()
	var c *container.Container
	eventually(t, "the restart", func() bool {
		var err error
		c, err = h.runner.Find(name)
		return err == nil && c.IsRunning() && c.Restarts.Count == n
	})
	return c
}

func (h *host) awaitStatus(t *testing.T, name string, want container.Status) *container.Container {
	t.Helper()
	var c *container.Container
	eventually(t, string(want), func() bool {
		var err error
		c, err = h.runner.Find(name)
		return err == nil && c.Status == want
	})
	return c
}

func TestPolicyRestartsAfterExit(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, restarting("web", container.RestartOnFailure, 2))
	for n := range 2 {
		h.exit(c.ID, 3)
		c = h.awaitRestarts(t, "web", n+1)
	}

	h.exit(c.ID, 4)
	if c = h.awaitStatus(t, "web", container.Exited); c.ExitCode != 4 || c.Restarts.Count != 2 {
		t.Errorf("got %+v", c)
	}

	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	h.awaitRestarts(t, "web", 0)
	h.exit(c.ID, 0)
	h.awaitStatus(t, "web", container.Exited)
	h.eventuallyHeld(t, c.ID)
}

// A stop, a kill and a removal end a container for good, in every state and across a crash of the
// agent.
func TestPolicyNeverRestartsAfterStop(t *testing.T) {
	for name, end := range map[string]func(*run.Runner) error{
		"stop":    func(r *run.Runner) error { return r.Stop(context.Background(), "web", nil, "") },
		"kill":    func(r *run.Runner) error { return r.Kill(context.Background(), "web", "") },
		"kill -s": func(r *run.Runner) error { return r.Kill(context.Background(), "web", "TERM") },
	} {
		for _, waiting := range []bool{false, true} {
			h := newHost(t)
			c := h.mustRun(t, restarting("web", container.RestartAlways, 0))
			if waiting {
				h.set(func() { h.fail = "join network" })
				h.exit(c.ID, 1)
				h.awaitStatus(t, "web", container.Restarting)
			}
			if err := end(h.runner); err != nil {
				t.Errorf("%s, %v: %v", name, waiting, err)
			}
			h.set(func() { h.fail = "" })
			h.awaitStatus(t, "web", container.Exited)
			h.crash(t)
			if err := h.runner.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.runner.Resume()
			time.Sleep(150 * time.Millisecond)
			if c, _ = h.runner.Find("web"); c.Status != container.Exited || !c.Restarts.Stopped {
				t.Errorf("%s, %v: got %+v", name, waiting, c)
			}
			h.eventuallyHeld(t, c.ID)
		}
	}
}

// The process, or its restart, ends while no agent runs.
func TestPolicyRestartsAfterAgentCrash(t *testing.T) {
	for _, c := range []struct {
		policy string
		code   int
		want   bool
	}{{container.RestartAlways, 0, true}, {container.RestartUnlessStopped, 0, true},
		{container.RestartOnFailure, 1, true}, {container.RestartOnFailure, 0, false},
		{container.RestartNo, 1, false}} {
		h := newHost(t)
		uid := h.mustRun(t, restarting("web", c.policy, 0)).ID
		h.crash(t)
		h.exitWhileDown(uid, c.code)
		if err := h.runner.Restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.runner.Resume()
		if c.want {
			h.awaitRestarts(t, "web", 1)
			continue
		}
		if now := h.awaitStatus(t, "web", container.Exited); now.Restarts.Count != 0 {
			t.Errorf("%+v: got %+v", c, now)
		}
	}
}

func TestInterruptedRestartIsRepeated(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, restarting("web", container.RestartAlways, 0))
	h.set(func() { h.fail = "create process" })
	h.exit(c.ID, 1)
	h.awaitStatus(t, "web", container.Restarting)
	h.crash(t)
	h.set(func() { h.fail = "" })
	h.hold(c.ID, "sandbox")
	if err := h.runner.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, c.ID)
	h.runner.Resume()
	h.awaitRestarts(t, "web", 1)
}

func TestRestartKeepsContainerWithAutoRemove(t *testing.T) {
	h := newHost(t)
	req := request("web")
	req.Config.AutoRemove = true
	c := h.mustRun(t, req)
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if now, err := h.runner.Find("web"); err != nil || now.ID != c.ID || !now.IsRunning() {
		t.Fatalf("got %+v, %v", now, err)
	}

	h.exit(c.ID, 0)
	eventually(t, "the removal", func() bool { _, err := h.runner.Find("web"); return fault.Is(err, fault.NotFound) })
}

func TestPolicyRejectsAutoRemove(t *testing.T) {
	h := newHost(t)
	req := restarting("web", container.RestartAlways, 0)
	req.Config.AutoRemove = true
	if _, err := h.runner.Run(t.Context(), req); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}

	h.mustRun(t, request("db"))
	policy := container.RestartPolicy{Name: "sometimes"}
	if _, err := h.runner.Update(t.Context(), "db", run.Changes{Restart: &policy}); !fault.Is(err, fault.Invalid) {
		t.Errorf("update: got %v", err)
	}
}

func TestUpdateAppliesToCurrentRun(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, restarting("web", "", 0))
	policy := container.RestartPolicy{Name: container.RestartAlways}
	if _, err := h.runner.Update(t.Context(), "web", run.Changes{Restart: &policy}); err != nil {
		t.Fatal(err)
	}

	h.exit(c.ID, 0)
	h.awaitRestarts(t, "web", 1)
	policy.Name = container.RestartNo
	if _, err := h.runner.Update(t.Context(), "web", run.Changes{Restart: &policy}); err != nil {
		t.Fatal(err)
	}

	h.exit(c.ID, 0)
	h.awaitStatus(t, "web", container.Exited)
}

func TestPausedContainer(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	refused := func(what string, err error) {
		t.Helper()
		if !fault.Is(err, fault.Busy) {
			t.Errorf("%s: got %v", what, err)
		}
	}

	refused("unpause", h.runner.Unpause(t.Context(), "web"))
	h.fail = "pause"
	if err := h.runner.Pause(t.Context(), "web"); err == nil {
		t.Error("paused without a freezer")
	}
	h.fail = ""
	if err := h.runner.Pause(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}

	if c, _ := h.runner.Find("web"); c.State() != "paused" || !c.IsRunning() {
		t.Errorf("got %+v", c)
	}

	refused("pause", h.runner.Pause(t.Context(), "web"))
	_, err := h.runner.Start(t.Context(), "web", false, 0, 0)
	refused("start", err)
	_, err = h.runner.Attach(t.Context(), "web", 0, 0)
	refused("attach", err)
	refused("rm", h.runner.Remove(t.Context(), "web", false, false))
	h.crash(t)
	if err := h.runner.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}

	if c, _ := h.runner.Find("web"); c.State() != "paused" {
		t.Errorf("after a crash: got %+v", c)
	}

	if err := h.runner.Stop(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if c, _ := h.runner.Find("web"); c.Status != container.Exited || c.IsPaused() {
		t.Errorf("after the stop: got %+v", c)
	}
}

func TestWaitConditions(t *testing.T) {
	h := newHost(t)
	if _, err := h.runner.Create(t.Context(), restarting("web", "", 0)); err != nil {
		t.Fatal(err)
	}

	if exit, err := h.runner.Wait(bounded(t), "web", run.NotRunning, nil); err != nil || exit.Code != 0 {
		t.Errorf("created: got %+v, %v", exit, err)
	}

	next, removed, waiting := make(chan int, 1), make(chan int, 1), make(chan bool)
	wait := func(until run.Condition, to chan int) {
		exit, err := h.runner.Wait(bounded(t), "web", until, func() { waiting <- true })
		if err != nil {
			exit.Code = -1
		}
		to <- exit.Code
	}
	go wait(run.NextExit, next)
	go wait(run.Removed, removed)
	_, _ = <-waiting, <-waiting
	launched, err := h.runner.Start(t.Context(), "web", false, 0, 0)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.runner.Wait(ctx, "web", run.NextExit, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}

	h.exit(launched.Container.ID, 5)
	if code := <-next; code != 5 {
		t.Errorf("next-exit: got %d", code)
	}

	if err := h.runner.Remove(t.Context(), "web", false, false); err != nil {
		t.Fatal(err)
	}

	if code := <-removed; code != 5 {
		t.Errorf("removed: got %d", code)
	}
}

func TestFailedUpdateKeepsLimits(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	limits := &resource.Limits{Memory: 64 << 20}
	h.fail = "update process"
	if _, err := h.runner.Update(t.Context(), "web", run.Changes{Resources: limits}); err == nil {
		t.Error("got no error")
	}

	if c, _ := h.runner.Find("web"); c.Config.Resources.Memory != 0 {
		t.Errorf("got %+v", c.Config.Resources)
	}

	h.fail = ""
	if _, err := h.runner.Update(t.Context(), "web", run.Changes{Resources: limits}); err != nil {
		t.Fatal(err)
	}

	if c, _ := h.runner.Find("web"); c.Config.Resources.Memory != 64<<20 {
		t.Errorf("got %+v", c.Config.Resources)
	}
}
