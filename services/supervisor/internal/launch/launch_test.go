package launch_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
)

// request is for a container with all steps that need no mount: the image adds an anonymous volume.
func request() launch.Request {
	return launch.Request{Attach: true, Config: container.Config{Name: "web", Image: "busybox",
		Command: []string{"true"},
		Mounts:  []container.Mount{{Type: container.VolumeMount, Source: "db", Target: "/db"}},
		Network: container.Network{Mode: "n0", Attachments: []container.Attachment{{Network: "n0"}},
			Egress:  []string{"192.0.2.0/24"},
			Publish: []port.Mapping{{Protocol: port.TCP, Host: port.Single(8080), Container: port.Single(80)}}}}}
}

// requests lists the requests of a launch that can fail.
func requests() []string {
	return []string{"mount rootfs", "start monitor", "create sandbox", "register", "put policy", "publish",
		"create process", "attach", "start process"}
}

func all() []string {
	return []string{"bundle", "monitor", "names", "output", "policy", "ports", "process", "rootfs", "sandbox"}
}

func TestRunHoldsEverything(t *testing.T) {
	h := newHost(t)
	l, err := h.Run(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	h.wantHeld(t, all()...)
	c, err := h.Store.GetContainer(l.Container.ID)
	if err != nil || !c.IsRunning() || c.Live.PID != 42 || len(c.AnonymousVolumes()) != 1 {
		t.Fatalf("got %+v, %v", c, err)
	}
	if h.Lives.Of(c.ID) != l.Run || !slices.Equal(h.started, []string{c.ID}) || h.IsStarting(c.ID) {
		t.Errorf("got run %p, started %q, starting %v", h.Lives.Of(c.ID), h.started, h.IsStarting(c.ID))
	}

	if err := h.ReleaseAll(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	h.wantHeld(t, "output") // of the client
}

// A request never begins before those end that it depends on, however long they take.
func TestStepsWaitForTheirDependencies(t *testing.T) {
	for _, pair := range [][2]string{{"create sandbox", "register"}, {"create sandbox", "put policy"},
		{"create sandbox", "publish"}, {"put policy", "start process"}, {"register", "create process"},
		{"mount rootfs", "create process"}, {"start monitor", "create process"}, {"create process", "attach"},
		{"attach", "start process"}, {"publish", "start process"}} {
		h := newHost(t)
		h.onBegin = func(name string) {
			if name == pair[0] {
				time.Sleep(20 * time.Millisecond) // a step without the dependency begins meanwhile
			}
		}
		if _, err := h.Run(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
		if slices.Index(h.did, "after "+pair[0]) > slices.Index(h.did, pair[1]) {
			t.Errorf("%s begins before the end of %s: %q", pair[1], pair[0], h.did)
		}
	}
}

// When the process starts, the record is on disk and the directory is marked: a crash then is noticed.
func TestRecordAndMarkPrecedeProcess(t *testing.T) {
	h := newHost(t)
	h.onBegin = func(name string) {
		if name != "start process" {
			return
		}
		c := h.Store.ListContainers()
		if len(c) != 1 || c[0].Status != container.Launching || !h.IsStarting(c[0].ID) {
			t.Errorf("at the start: got %+v", c)
		}
	}
	if _, err := h.Run(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
}

// The rules of a container stay until its process is gone, however long that takes, also when the start
// failed after it. The process is deleted once.
func TestPolicyIsDeletedAfterProcess(t *testing.T) {
	for _, failing := range []string{"create process", "attach", "start process"} {
		h := newHost(t)
		h.fail, h.late = failing, true
		h.onBegin = func(name string) {
			if name == "delete process" {
				time.Sleep(20 * time.Millisecond) // a step that does not wait begins meanwhile
			}
		}
		if _, err := h.Run(t.Context(), request()); err == nil {
			t.Fatal("got no error")
		}
		process, policy := slices.Index(h.did, "after delete process"), slices.Index(h.did, "delete policy")
		if process < 0 || policy < process {
			t.Errorf("%s fails: the policy is deleted before the process: %q", failing, h.did)
		}
		if slices.Contains(h.did[process+1:], "delete process") {
			t.Errorf("%s fails: the process is deleted twice: %q", failing, h.did)
		}
	}
}

// Whichever request fails, a run leaves nothing: no resource, record, directory, name or new volume. Only
// a volume that the process could write to is kept.
func TestFailedRunLeavesNothing(t *testing.T) {
	for _, failing := range requests() {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, effect %v", failing, late), func(t *testing.T) {
				h := newHost(t)
				h.fail, h.late = failing, late
				req := request()
				req.Config.Mounts = append(req.Config.Mounts, container.Mount{Type: container.Bind, CreateSource: true,
					Source: filepath.Join(h.dir, "bind", "below"), Target: "/bind"})
				if _, err := h.Run(t.Context(), req); !fault.Is(err, fault.Unavailable) {
					t.Fatalf("got %v", err)
				}
				if _, err := os.Stat(filepath.Join(h.dir, "bind")); !os.IsNotExist(err) {
					t.Errorf("the directory of -v: got %v", err)
				}
				h.wantHeld(t)
				if left := h.Store.ListContainers(); len(left) > 0 || len(h.started) > 0 {
					t.Errorf("got records %+v, started %q", left, h.started)
				}
				if left, _ := os.ReadDir(filepath.Join(h.dir, "containers")); len(left) > 0 {
					t.Errorf("got directories %q", left)
				}
				var kept, want []string
				for _, v := range h.Store.ListVolumes() {
					kept = append(kept, v.Name)
				}
				if failing == "start process" {
					want = []string{"db"}
				}
				if !slices.Equal(kept, want) {
					t.Errorf("got volumes %q, want %q", kept, want)
				}
				h.wantUndoOrder(t)

				h.fail = ""
				if _, err := h.Run(t.Context(), request()); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		}
	}
}

// wantUndoOrder checks that a created process is gone before what it uses is released.
func (h *host) wantUndoOrder(t *testing.T) {
	t.Helper()
	if !slices.Contains(h.did, "create process") {
		return
	}
	gone := slices.Index(h.did, "after delete process")
	for _, later := range []string{"release sandbox", "unmount rootfs", "unregister", "delete policy"} {
		if i := slices.Index(h.did, later); i < gone {
			t.Errorf("%s (%d) before the process is deleted (%d): %q", later, i, gone, h.did)
		}
	}
}

// A volume that existed before is kept whatever fails.
func TestFailedRunKeepsOldVolume(t *testing.T) {
	h := newHost(t)
	first := request()
	first.Config.Name = "first"
	if _, err := h.Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	letter := filepath.Join(h.Volumes.Path("db"), "letter")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Store.DeleteContainer(h.Store.ListContainers()[0].ID); err != nil {
		t.Fatal(err)
	}
	h.fail = "create process"
	if _, err := h.Run(t.Context(), request()); err == nil {
		t.Error("got no error")
	}
	if got, err := os.ReadFile(letter); err != nil || string(got) != "dear" {
		t.Errorf("got %q, %v", got, err)
	}
}

// If the undo fails too, a later release by the ID alone releases the rest.
func TestReleaseAllCompletesFailedUndo(t *testing.T) {
	for _, failing := range requests() {
		h := newHost(t)
		var uid string
		h.onBegin = func(name string) {
			if c := h.Store.ListContainers(); len(c) > 0 {
				h.set(func() { uid = c[0].ID })
			}
		}
		h.fail, h.late, h.down = failing, false, true
		if _, err := h.Run(t.Context(), request()); err == nil {
			t.Errorf("%s: got no error", failing)
		}
		h.down, h.onBegin = false, nil
		if err := h.ReleaseAll(t.Context(), uid); err != nil {
			t.Errorf("%s: %v", failing, err)
		}
		h.held = slices.DeleteFunc(h.held, func(r string) bool { return r == "output" }) // ends with the agent
		h.wantHeld(t)
	}
}

// The rules go when no process can use the network: after its end, or after the sandbox if it does not end.
func TestReleaseAllKeepsRulesWhileProcessRuns(t *testing.T) {
	for failing, before := range map[string]string{"": "after delete process",
		"delete process": "after release sandbox"} {
		h := newHost(t)
		l, err := h.Run(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		h.fail, h.did = failing, nil
		if err := h.ReleaseAll(t.Context(), l.Container.ID); (err != nil) != (failing != "") {
			t.Error(err)
		}
		first, then := slices.Index(h.did, before), slices.Index(h.did, "delete policy")
		if first < 0 || then < first {
			t.Errorf("%q fails: got %q, want delete policy %s", failing, h.did, before)
		}
	}
}

// A failed start keeps the container with its volumes and stores the error; the clients that wait for it
// get the error, and the next start succeeds.
func TestFailedStartKeepsContainer(t *testing.T) {
	for _, failing := range slices.DeleteFunc(requests(), func(r string) bool { return r == "attach" }) {
		h := newHost(t)
		req := request()
		req.Config.Network.Attachments[0].IPv4 = netip.MustParseAddr("10.0.0.2")
		created, err := h.Create(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		uid := created.Container.ID
		h.wantHeld(t, "addresses")
		waiter := h.Waiters.Add(uid)
		h.fail = failing
		if _, err = h.Start(t.Context(), uid, launch.StartOptions{Attach: true}); err == nil {
			t.Errorf("%s: got no error", failing)
		}
		if _, werr := waiter.Wait(t.Context(), nil); werr == nil || werr.Error() != err.Error() {
			t.Errorf("%s: the waiting client got %v, want %v", failing, werr, err)
		}
		h.wantHeld(t, "addresses")
		c, gerr := h.Store.GetContainer(uid)
		if gerr != nil || c.Status != container.Created || c.Error != err.Error() || len(h.Store.ListVolumes()) != 2 {
			t.Errorf("%s: got %+v, %v", failing, c, gerr)
		}
		if h.Lives.Of(uid) != nil || h.IsStarting(uid) {
			t.Errorf("%s: still starting", failing)
		}

		h.fail = ""
		if _, err := h.Start(t.Context(), uid, launch.StartOptions{}); err != nil {
			t.Errorf("%s: again: %v", failing, err)
		}
	}
}

// A client that cannot be connected does not prevent the start.
func TestWaitingClientDoesNotPreventStart(t *testing.T) {
	h := newHost(t)
	created, err := h.Create(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	refused, served := h.Waiters.Add(created.Container.ID), h.Waiters.Add(created.Container.ID)
	h.fail = "attach"
	if _, err := h.Start(t.Context(), created.Container.ID, launch.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if l, err := refused.Wait(t.Context(), nil); err == nil {
		t.Errorf("got %+v, want an error", l)
	}
	if l, err := served.Wait(t.Context(), nil); err != nil || l.Output == nil || l.Run == nil {
		t.Errorf("got %+v, %v", l, err)
	}
}

// Of simultaneous launches with one name one succeeds, and the failures of the others take nothing away.
func TestNameIsTakenOnce(t *testing.T) {
	h := newHost(t)
	var launches sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		launches.Go(func() {
			req := request()
			req.Attach = false
			_, errs[i] = h.Run(t.Context(), req)
		})
	}
	launches.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	for _, err := range failed {
		if !fault.Is(err, fault.Exists) {
			t.Errorf("got %v", err)
		}
	}
	if left := h.Store.ListContainers(); len(failed) != 7 || len(left) != 1 || len(h.Store.ListVolumes()) != 2 {
		t.Errorf("got %d failures, records %+v", len(failed), left)
	}
}
