package run_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
)

func TestExecIsAnObject(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if _, err := h.runner.CreateExec(session.ExecRequest{Reference: "web"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a command: got %v", err)
	}

	uid, err := h.runner.CreateExec(session.ExecRequest{Reference: "web", Args: []string{"ls", "/"}, TTY: true})
	if err != nil {
		t.Fatal(err)
	}

	if e, err := h.runner.ExecState(uid); err != nil || e.Running || e.ExitCode != nil || e.Container != c.ID {
		t.Errorf("created: got %+v, %v", e, err)
	}

	// A resize waits for the start.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.runner.ResizeExec(gone, uid, 1, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("resize before the start: got %v", err)
	}
	early := make(chan error, 1)
	go func() { early <- h.runner.ResizeExec(t.Context(), uid, 1, 2) }()

	_, process, err := h.runner.StartExec(t.Context(), uid, session.StartExec{})
	if err != nil {
		t.Fatal(err)
	}

	for _, err := range []error{<-early, h.runner.ResizeExec(t.Context(), uid, 1, 2)} {
		if err != nil && !fault.Is(err, fault.Busy) { // it may have ended
			t.Errorf("resize: got %v", err)
		}
	}

	if code, err := process.Wait(bounded(t)); err != nil || code != 2 {
		t.Errorf("got exit code %d, %v", code, err)
	}

	eventually(t, "the exit code", func() bool {
		e, err := h.runner.ExecState(uid)
		return err == nil && !e.Running && e.ExitCode != nil && *e.ExitCode == 2 && e.PID == 43
	})
	if _, _, err := h.runner.StartExec(t.Context(), uid, session.StartExec{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("second start: got %v", err)
	}

	if _, err := h.runner.ExecState("nosuch"); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown: got %v", err)
	}
}

// The size of the creation applies unless the start has one. Keys and streams are kept for clients.
func TestExecKeepsSizeAndKeys(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	for _, tc := range []struct{ rows, want uint16 }{{0, 33}, {44, 44}} {
		uid, err := h.runner.CreateExec(session.ExecRequest{Reference: "web", Args: []string{"sh"}, TTY: true, Rows: 33,
			Cols: 77, DetachKeys: "ctrl-x", Attach: []string{"stdout"}})
		if err != nil {
			t.Fatal(err)
		}
		_, process, err := h.runner.StartExec(t.Context(), uid, session.StartExec{Rows: tc.rows, Cols: 2 * tc.rows})
		if err != nil {
			t.Fatal(err)
		}
		if size := h.execSize.Load(); size == nil || size.Height != uint(tc.want) {
			t.Errorf("size at the start %d: got %v", tc.rows, size)
		}
		e, err := h.runner.ExecState(uid)
		if err != nil || e.Request.DetachKeys != "ctrl-x" || !slices.Equal(e.Request.Attach, []string{"stdout"}) {
			t.Errorf("got %+v, %v", e.Request, err)
		}
		_ = process.Close()
	}
}

func TestFailedExecHasExitCode(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	for reason, want := range map[string]int{"": 126, fault.ReasonCommandNotExecutable: 126,
		fault.ReasonCommandNotFound: 127} {
		uid, err := h.runner.CreateExec(session.ExecRequest{Reference: "web", Args: []string{"nosuch"}})
		if err != nil {
			t.Fatal(err)
		}

		h.fail, h.reason = "exec", reason
		if _, _, err := h.runner.StartExec(t.Context(), uid, session.StartExec{}); err == nil {
			t.Errorf("%q: started", reason)
		}

		h.fail, h.reason = "", ""
		if e, err := h.runner.ExecState(uid); err != nil || e.Running || e.ExitCode == nil || *e.ExitCode != want {
			t.Errorf("%q: got %+v, %v", reason, e, err)
		}
	}
}

// A client that attaches before the start is connected before the process runs, also if another
// client attaches with the start. A failed start and a removal end the wait.
func TestAttachBeforeStart(t *testing.T) {
	h := newHost(t)
	create := func(name string) *session.Pending {
		t.Helper()
		if _, err := h.runner.Create(t.Context(), request(name)); err != nil {
			t.Fatal(err)
		}
		p, err := h.runner.AttachBeforeStart(t.Context(), name, 0, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}

	p := create("web")
	started, err := h.runner.Start(t.Context(), "web", true, 0, 0)
	if err != nil {
		t.Fatal(err)
	}

	launched, err := p.Wait(bounded(t))
	if err != nil || launched.Output == nil || launched.Run != started.Run {
		t.Fatalf("got %+v, %v", launched, err)
	}

	p = create("broken")
	h.set(func() { h.fail = "start process" })
	if _, err := h.runner.Start(t.Context(), "broken", false, 0, 0); err == nil {
		t.Error("started")
	}
	if _, err := p.Wait(bounded(t)); err == nil {
		t.Error("failed start: got no error")
	}

	p = create("gone")
	result := make(chan error, 1)
	go func() { _, err := p.Wait(bounded(t)); result <- err }()
	if err := h.runner.Remove(t.Context(), "gone", false, false); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil || err == context.DeadlineExceeded {
		t.Errorf("removed: got %v", err)
	}

	h.set(func() { h.fail = "" })
	var running *launch.Launched
	q, err := h.runner.AttachBeforeStart(t.Context(), "web", 0, 0, false)
	if err == nil {
		running, err = q.Wait(bounded(t))
	}
	if err != nil || running.Run != started.Run {
		t.Errorf("running: got %+v, %v", running, err)
	}
}
