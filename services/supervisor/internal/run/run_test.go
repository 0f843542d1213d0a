package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

// testLimit is the time limit of asynchronous operations in tests.
const testLimit = time.Minute

func request(name string) launch.Request {
	return launch.Request{Config: container.Config{Name: name, Image: "busybox", Command: []string{"true"},
		Network: container.Network{Mode: container.ModeBridge,
			Publish: []port.Mapping{{Protocol: port.TCP, Host: port.Single(8080), Container: port.Single(80)}}}}}
}

func TestLaunchAndRemoveResources(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}

	uid := launched.Container.ID
	h.wantHeld(t, uid, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	c, err := h.runner.Find("web")
	if err != nil || !c.IsRunning() || c.Live.PID == 0 || c.Live.Endpoints[0].IPv4 != "172.17.0.2/16" ||
		len(c.Live.Bindings) != 1 {
		t.Fatalf("got %+v, %v", c, err)
	}

	if err := h.runner.Remove(t.Context(), "web", false, false); !fault.Is(err, fault.Busy) {
		t.Errorf("running container: got %v", err)
	}

	if err := h.runner.Remove(t.Context(), "web", true, false); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, uid)
	if _, err := h.runner.Find("web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("after removal: got %v", err)
	}
}

// If a step fails, everything is released, the name is free, and the error has the step.
func TestFailedStepReleasesEverything(t *testing.T) {
	for _, step := range []string{"join network", "register names", "publish ports", "prepare rootfs", "start monitor",
		"create process", "attach output", "start process"} {
		t.Run(step, func(t *testing.T) {
			h := newHost(t)
			h.fail = step
			req := request("web")
			req.Attach = true
			_, err := h.runner.Run(t.Context(), req)
			f, ok := errors.AsType[*fault.Fault](err)
			if !ok || f.Step != step {
				t.Fatalf("got %v, want fault in step %s", err, step)
			}
			h.wantHeld(t, "")
			if all := h.runner.List(); len(all) != 0 {
				t.Errorf("got %v stored, want none", all)
			}
			h.fail = ""
			if _, err := h.runner.Run(t.Context(), req); err != nil {
				t.Errorf("second run: got %v", err)
			}
		})
	}
}

func TestStartErrorIsStored(t *testing.T) {
	h := newHost(t)
	if _, err := h.runner.Create(t.Context(), request("web")); err != nil {
		t.Fatal(err)
	}

	h.fail = "publish ports"
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err == nil {
		t.Fatal("started")
	}

	h.wantHeld(t, "")
	c, err := h.runner.Find("web")
	if err != nil || c.Status != container.Created || !strings.Contains(c.Error, "publish ports") {
		t.Errorf("got %+v, %v", c, err)
	}

	h.fail = ""
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	if c, _ := h.runner.Find("web"); !c.IsRunning() || c.Error != "" {
		t.Errorf("got %+v", c)
	}
}

func TestFailedStartRemovesContainer(t *testing.T) {
	h := newHost(t)
	req := request("web")
	req.Config.AutoRemove = true
	if _, err := h.runner.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}

	h.fail = "publish ports"
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err == nil || fault.Is(err, fault.NotFound) {
		t.Fatalf("got %v", err)
	}

	h.wantHeld(t, "")
	if c, err := h.runner.Find("web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %+v, %v; want none", c, err)
	}
}

func TestNameIsUnique(t *testing.T) {
	h := newHost(t)
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := h.runner.Create(t.Context(), request("web"))
			errs <- err
		}()
	}

	created := 0
	for range 8 {
		switch err := <-errs; {
		case err == nil:
			created++
		case fault.ReasonOf(err) != fault.ReasonNameInUse:
			t.Error(err)
		}
	}

	if created != 1 {
		t.Errorf("got %d containers with the name, want 1", created)
	}
}

func TestExitReleasesBeforeReport(t *testing.T) {
	for _, remove := range []bool{false, true} {
		h := newHost(t)
		req := request("web")
		req.Config.AutoRemove = remove
		launched, err := h.runner.Run(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		uid := launched.Container.ID
		h.exit(uid, 7)
		ctx, cancel := context.WithTimeout(t.Context(), testLimit)
		defer cancel()
		exit, err := h.runner.ExitOf(ctx, launched)
		if err != nil || exit.Code != 7 {
			t.Fatalf("got exit %+v, %v", exit, err)
		}
		if held := h.heldBy(uid); slices.Contains(held, "sandbox") || slices.Contains(held, "ports") ||
			slices.Contains(held, "names") {
			t.Errorf("got %v held after the exit, want no sandbox, ports and names", held)
		}
		c, err := h.runner.Find("web")
		if remove != fault.Is(err, fault.NotFound) {
			t.Errorf("--rm %v: got %+v, %v", remove, c, err)
		}
		if !remove && (c.Status != container.Exited || c.ExitCode != 7) {
			t.Errorf("got %+v", c)
		}
		h.eventuallyHeld(t, uid)
	}
}

// Clients of --rm do not wait for what only the supervisor sees.
func TestRemovalIsReportedBeforeCleanup(t *testing.T) {
	h := newHost(t)
	clearing := make(chan struct{})
	h.clearing = clearing
	req := request("web")
	req.Config.AutoRemove = true
	launched, err := h.runner.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	uid := launched.Container.ID
	exit, err := h.runner.Wait(ctx, uid, run.Removed, func() { h.exit(uid, 7) })
	if err != nil || exit.Code != 7 {
		t.Errorf("got %+v, %v", exit, err)
	}
	close(clearing)
	h.eventuallyHeld(t, uid)
}

func TestStopKillsAfterTimeout(t *testing.T) {
	h := newHost(t)
	h.ignoreStop = true
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}

	soon := 20 * time.Millisecond
	if err := h.runner.Stop(t.Context(), "web", &soon, ""); err != nil {
		t.Fatal(err)
	}

	if got := h.signals; !slices.Equal(got, []string{"terminated", "killed"}) {
		t.Errorf("got signals %v", got)
	}

	h.wantHeld(t, launched.Container.ID)
	if err := h.runner.Stop(t.Context(), "web", nil, ""); err != nil {
		t.Errorf("stop of an exited container: got %v", err)
	}

	if err := h.runner.Kill(t.Context(), "web", ""); !fault.Is(err, fault.Busy) {
		t.Errorf("kill of an exited container: got %v", err)
	}
}

// The stop signal comes first even without a timeout, as in Docker.
func TestStopWithoutTimeoutSendsStopSignal(t *testing.T) {
	for name, ignore := range map[string]bool{"handled": false, "ignored": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.ignoreStop = ignore
			launched, err := h.runner.Run(t.Context(), request("web"))
			if err != nil {
				t.Fatal(err)
			}

			want, code := []string{"terminated"}, 128+int(syscall.SIGTERM)
			if ignore {
				want, code = append(want, "killed"), 128+int(syscall.SIGKILL)
			}
			if err := h.runner.Stop(t.Context(), "web", new(time.Duration), ""); err != nil {
				t.Fatal(err)
			}

			if got := h.signals; !slices.Equal(got, want) {
				t.Errorf("got signals %v, want %v", got, want)
			}
			c, err := h.store.GetContainer(launched.Container.ID)
			if err != nil {
				t.Fatal(err)
			}
			if c.ExitCode != code {
				t.Errorf("got exit code %d, want %d", c.ExitCode, code)
			}
		})
	}
}

// After a crash, running containers are adopted, exits are recorded, and interrupted launches and
// resources of unknown owners are removed.
func TestRestoreAdoptsAndCleansUp(t *testing.T) {
	h := newHost(t)
	ids := map[string]string{}
	for _, name := range []string{"alive", "ended", "gone", "half"} {
		launched, err := h.runner.Run(t.Context(), request(name))
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = launched.Container.ID
	}

	h.crash(t)
	h.lose(ids["gone"])
	h.exitWhileDown(ids["ended"], 3)
	h.markLaunching(t, ids["half"])
	stray := strings.Repeat("ab", 32)
	h.hold(stray, "sandbox")
	h.hold(stray, "mount")

	if err := h.runner.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, ids["alive"], "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	for name, want := range map[string]struct {
		status container.Status
		code   int
	}{"alive": {container.Running, 0}, "ended": {container.Exited, 3}, "gone": {container.Exited, 137}} {
		c, err := h.runner.Find(name)
		if err != nil || c.Status != want.status || c.ExitCode != want.code {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}

	if _, err := h.runner.Find("half"); !fault.Is(err, fault.NotFound) {
		t.Errorf("interrupted launch: got %v", err)
	}

	for _, uid := range []string{ids["ended"], ids["gone"], ids["half"], stray} {
		h.wantHeld(t, uid)
	}

	h.exit(ids["alive"], 9)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()

	if exit, err := h.runner.Wait(ctx, "alive", run.NotRunning, nil); err != nil || exit.Code != 9 {
		t.Errorf("adopted container: got %+v, %v", exit, err)
	}
}

func TestExitDespiteUnavailableService(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}

	h.down("ports", true)
	h.exit(launched.Container.ID, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()

	if _, err := h.runner.ExitOf(ctx, launched); err != nil {
		t.Fatal(err)
	}

	h.eventuallyHeld(t, launched.Container.ID, "ports")
	h.down("ports", false)
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, launched.Container.ID)
}

func TestMountSourcesCreatedOrRemoved(t *testing.T) {
	h := newHost(t)
	missing := filepath.Join(t.TempDir(), "a", "b")
	req := request("web")
	req.Config.Mounts = []container.Mount{{Source: missing, Target: "/x", CreateSource: true},
		{Source: missing + "2", Target: "/y"}}
	if _, err := h.runner.Run(t.Context(), req); !fault.Is(err, fault.Invalid) {
		t.Errorf("missing source: got %v", err)
	}

	req.Config.Mounts = req.Config.Mounts[:1]
	h.fail = "create process"
	if _, err := h.runner.Run(t.Context(), req); err == nil {
		t.Error("launched")
	}

	if _, err := os.Stat(filepath.Dir(missing)); !os.IsNotExist(err) {
		t.Errorf("after a failed launch: %s exists: %v", filepath.Dir(missing), err)
	}

	h.fail = ""
	if _, err := h.runner.Run(t.Context(), req); err != nil {
		t.Fatal(err)
	}

	if _, err := os.Stat(missing); err != nil {
		t.Error(err)
	}
}
