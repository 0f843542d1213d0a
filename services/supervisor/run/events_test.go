package run_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/supervisor/container"
)

// next reads an event.
func next(t *testing.T, l *events.Listener) events.Event {
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
func told(t *testing.T, l *events.Listener, n int) (actions []string) {
	t.Helper()
	for range n {
		actions = append(actions, next(t, l).Action)
	}
	return actions
}

func TestWhatHappensIsToldInDockersOrder(t *testing.T) {
	h := newHost(t)
	l := h.runner.Events.Listen(time.Time{})
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
	want := []string{"create", "connect", "start", "kill", "disconnect", "stop", "die", "connect", "start", "disconnect", "die", "destroy"}
	if got := told(t, l, len(want)); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestALaunchThatFailsIsNotToldOf(t *testing.T) {
	h := newHost(t)
	l := h.runner.Events.Listen(time.Time{})
	defer l.Close()
	for _, step := range []string{"prepare rootfs", "join network", "register names", "create process", "start process"} {
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
	l := h.runner.Events.Listen(time.Time{})
	defer l.Close()
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}
	e := next(t, l)
	if e.Type != events.Network || e.Action != "connect" || e.Attributes["name"] != "n1" {
		t.Errorf("told %+v", e)
	}
}
