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
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
)

// next returns the next event.
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

// readActions returns the actions of the next n events.
func readActions(t *testing.T, l *events.Subscription, n int) (actions []string) {
	t.Helper()
	for range n {
		actions = append(actions, next(t, l).Action)
	}
	return actions
}

func TestEventsHaveDockersOrder(t *testing.T) {
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
	if _, err := h.runner.Wait(t.Context(), "web", run.NotRunning, nil); err != nil {
		t.Fatal(err)
	}

	if err := h.runner.Remove(t.Context(), "web", true, false); err != nil {
		t.Fatal(err)
	}

	want := []string{"create", "connect", "start", "kill", "disconnect", "stop", "die", "connect", "start",
		"disconnect", "die", "destroy"}
	if got := readActions(t, l, len(want)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExecEmitsStartAndDie(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	for _, detach := range []bool{false, true} {
		_, session, err := h.runner.Exec(t.Context(),
			session.ExecRequest{Reference: "web", Args: []string{"ls", "-l", "/"}, Detach: detach})
		if err != nil || (session == nil) != detach {
			t.Fatalf("got session %v, %v", session, err)
		}
		if !detach {
			if code, err := session.Wait(t.Context()); err != nil || code != 3 {
				t.Errorf("got exit code %d, %v", code, err)
			}
			if _, err := l.Next(ended(t)); err != nil { // all events were emitted before
				t.Error(err)
			}
		} else {
			next(t, l)
		}
		start, die := next(t, l), next(t, l)
		if start.Action != "exec_start: ls -l /" || start.ID != c.ID || start.Attributes["name"] != "web" ||
			len(start.Attributes["execID"]) != 64 {
			t.Errorf("got %+v", start)
		}
		if die.Action != "exec_die" || die.Attributes["execID"] != start.Attributes["execID"] ||
			die.Attributes["exitCode"] != map[bool]string{false: "3"}[detach] {
			t.Errorf("got %+v", die)
		}
	}

	h.fail = "exec"
	ls := session.ExecRequest{Reference: "web", Args: []string{"ls"}}
	if _, _, err := h.runner.Exec(t.Context(), ls); err == nil {
		t.Error("got no error")
	}

	if e, err := l.Next(ended(t)); err == nil {
		t.Errorf("got event %+v of a failed exec", e)
	}
}

// ended returns a context that is done: with it a subscription returns only pending events.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestRestartEventFollowsStart(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	l, err := h.runner.Events.Subscribe(time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	defer l.Close()

	if _, err := h.runner.Restart(t.Context(), "nosuch", nil, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown container: got %v", err)
	}

	for range 2 {
		if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err != nil {
			t.Fatal(err)
		}
		want := []string{"kill", "disconnect", "stop", "die", "connect", "start", "restart"}
		if got := readActions(t, l, len(want)); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}

	if err := h.runner.Stop(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	readActions(t, l, 4)
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err != nil {
		t.Fatal(err)
	}

	if got := readActions(t, l, 3); !slices.Equal(got, []string{"connect", "start", "restart"}) {
		t.Errorf("stopped container: got %v", got)
	}

	h.fail = "join network"
	if _, err := h.runner.Restart(t.Context(), "web", nil, ""); err == nil {
		t.Error("got no error")
	}

	readActions(t, l, 4)
	if e, err := l.Next(ended(t)); err == nil {
		t.Errorf("got event %+v of a failed start", e)
	}
}

func TestFailedLaunchEmitsNoEvents(t *testing.T) {
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
			t.Errorf("%s: got no error", step)
		}
	}

	h.fail = ""
	h.mustRun(t, request("web"))
	if got := readActions(t, l, 1); got[0] != "create" {
		t.Errorf("got %v", got)
	}
}

func TestConnectEmitsNetworkEvent(t *testing.T) {
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
		t.Errorf("got %+v", e)
	}
}
