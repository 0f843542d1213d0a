package run_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

// next reads an event.
func next(t *testing.T, l *events.Subscription) events.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	e, err := l.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// told reads the actions of the next n events.
func told(t *testing.T, l *events.Subscription, n int) (actions []string) {
	t.Helper()
	for range n {
		actions = append(actions, next(t, l).Action)
	}
	return actions
}

func TestWhatHappensIsToldInDockersOrder(t *testing.T) {
	h := newHost(t)
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	c := h.mustRun(t, request("web"))
	h.end(t, c)
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	h.exit(c.ID, 3)
	if _, err := h.runner.Wait(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}

	if err := h.runner.Remove(t.Context(), "web", true); err != nil {
		t.Fatal(err)
	}

	want := []string{"create", "connect", "start", "kill", "disconnect", "stop", "die", "connect", "start",
		"disconnect", "die", "destroy"}
	if got := told(t, l, len(want)); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestFurtherProcessesAreToldOfFromBeginningToEnd(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	for _, detach := range []bool{false, true} {
		_, session, err := h.runner.Exec(t.Context(),
			run.ExecRequest{Reference: "web", Args: []string{"ls", "-l", "/"}, Detach: detach})
		if err != nil || (session == nil) != detach {
			t.Fatalf("Exec = %v, %v", session, err)
		}
		if !detach {
			if code, err := session.Wait(t.Context()); err != nil || code != 3 {
				t.Errorf("exit code %d, %v", code, err)
			}
			if _, err := l.Next(ended(t)); err != nil { // all has been told by now
				t.Error(err)
			}
		} else {
			next(t, l)
		}
		start, die := next(t, l), next(t, l)
		if start.Action != "exec_start: ls -l /" || start.ID != c.ID || start.Attributes["name"] != "web" ||
			len(start.Attributes["execID"]) != 64 {
			t.Errorf("told %+v", start)
		}
		if die.Action != "exec_die" || die.Attributes["execID"] != start.Attributes["execID"] ||
			die.Attributes["exitCode"] != map[bool]string{false: "3"}[detach] {
			t.Errorf("told %+v", die)
		}
	}

	h.fail = "exec"
	if _, _, err := h.runner.Exec(t.Context(), run.ExecRequest{Reference: "web", Args: []string{"ls"}}); err == nil {
		t.Error("it worked")
	}

	if e, err := l.Next(ended(t)); err == nil {
		t.Errorf("told %+v of what could not be started", e)
	}
}

// ended is a context that has ended: with it a listener answers what is there already.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestARestartIsToldOfWhenItIsDone(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	once := request("once")
	once.Config.AutoRemove = true
	h.mustRun(t, once)
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	if _, err := h.runner.Restart(t.Context(), "once", nil, ""); !fault.Is(err, fault.Busy) {
		t.Errorf("of one that is removed when it stops: %v", err)
	}

	if _, err := h.runner.Restart(t.Context(), "nosuch", nil, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("of nobody: %v", err)
	}

	for range 2 {
		if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err != nil {
			t.Fatal(err)
		}
		want := []string{"kill", "disconnect", "stop", "die", "connect", "start", "restart"}
		if got := told(t, l, len(want)); !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}

	if err := h.runner.Stop(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	told(t, l, 4)
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if got := told(t, l, 3); !slices.Equal(got, []string{"connect", "start", "restart"}) {
		t.Errorf("of one that did not run: told %v", got)
	}

	h.fail = "join network"
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err == nil {
		t.Error("it worked")
	}

	told(t, l, 4)
	if e, err := l.Next(ended(t)); err == nil {
		t.Errorf("told %+v of what failed", e)
	}
}

func TestALaunchThatFailsIsNotToldOf(t *testing.T) {
	h := newHost(t)
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	for _, step := range []string{"prepare rootfs", "join network", "register names", "create process",
		"start process"} {
		h.fail = step
		if _, err := h.runner.Run(t.Context(), request("web")); err == nil {
			t.Errorf("%s failed, and the launch did not", step)
		}
	}

	h.fail = ""
	h.mustRun(t, request("web"))
	if got := told(t, l, 1); got[0] != "create" {
		t.Errorf("told %v", got)
	}
}

func TestWhoComesOntoANetworkWhileItRunsIsToldOf(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}

	e := next(t, l)
	if e.Type != events.Network || e.Action != "connect" || e.Attributes["name"] != "n1" {
		t.Errorf("told %+v", e)
	}
}
