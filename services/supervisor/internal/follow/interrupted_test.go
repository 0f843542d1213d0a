package follow_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// operation is a change of the container of a world.
type operation struct {
	name    string
	stopped bool
	on      []container.Attachment
	do      func(t *testing.T, w *world) error
	want    string // the shape after it
	event   string // that it emits; empty means none
	// forward means that a failed operation that cannot be undone is completed instead.
	forward bool
}

func operations() []operation {
	n0, n1 := container.Attachment{Network: "n0"}, container.Attachment{Network: "n1"}
	fixed := container.Attachment{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.9")}
	connect := func(a container.Attachment) func(*testing.T, *world) error {
		return func(t *testing.T, w *world) error { return w.ConnectNetwork(t.Context(), "web", a) }
	}
	disconnect := func(t *testing.T, w *world) error { return w.DisconnectNetwork(t.Context(), "web", "n1") }
	one, both := []container.Attachment{n0}, []container.Attachment{n0, n1}
	return []operation{
		{"connect", false, one, connect(n1), "web n0 n1 8080:80/tcp", "connect", false},
		{"disconnect", false, both, disconnect, "web n0 8080:80/tcp", "disconnect", true},
		{"connect a stopped one", true, one, connect(fixed), "web n0 n1 8080:80/tcp", "", false},
		{"disconnect a stopped one", true, []container.Attachment{n0, fixed}, disconnect, "web n0 8080:80/tcp", "",
			true},
		{"rename", false, both, func(t *testing.T, w *world) error { return w.Rename(t.Context(), "web", "shop") },
			"shop n0 n1 8080:80/tcp", "rename", false},
		{"publish", false, one, func(t *testing.T, w *world) error {
			_, _, err := w.PublishPorts(t.Context(), "web", []port.Mapping{mapping(9000)}, nil)
			return err
		}, "web n0 8080:80/tcp 9000:80/tcp", "", false},
		{"unpublish", false, one, func(t *testing.T, w *world) error {
			return w.UnpublishPorts(t.Context(), "web", []port.Mapping{mapping(8080)}, nil, false)
		}, "web n0", "", false},
	}
}

// Whichever request to another service fails, once or from then on, without effect or with a lost
// response, a change that fails changes nothing, and once the services are available again all of them
// match the store. Only a disconnect that cannot be undone is completed then.
func TestFailedRequestChangesNothing(t *testing.T) {
	failures := []failure{
		{name: "unavailable once", last: true, kind: fault.Unavailable},
		{name: "refused once", last: true, kind: fault.Conflict},
		{name: "response lost", last: true, late: true, kind: fault.Unavailable},
		{name: "unavailable from then on", kind: fault.Unavailable},
		{name: "one service unavailable from then on", same: true, kind: fault.Unavailable},
		{name: "responses lost from then on", late: true, kind: fault.Unavailable},
	}
	for _, op := range operations() {
		for i, requests := 0, len(succeed(t, op)); i < requests; i++ {
			for _, f := range failures {
				t.Run(fmt.Sprintf("%s/request %d/%s", op.name, i, f.name), func(t *testing.T) {
					w := newWorld(t, !op.stopped, op.on...)
					before := shape(w.find(t))
					f.at = i
					w.fault = &f
					err, _ := w.try(t, func() error { return op.do(t, w) })
					w.wantEvent(t, op, err)
					want := op.want
					pending := w.find(t).Change != nil
					if err != nil && !(op.forward && pending && !f.last) {
						want = before
					}
					if f.last && !pending { // it was undone immediately
						w.wantConsistent(t)
					}

					w.repair(t)
					if got := shape(w.find(t)); got != want {
						t.Errorf("error %v, got %s, want %s", err, got, want)
					}
					w.wantConsistent(t)
				})
			}
		}
	}
}

// wantEvent checks that a successful operation emits its event, and a failed one none.
func (w *world) wantEvent(t *testing.T, op operation, err error) {
	t.Helper()
	var want []string
	if err == nil && op.event != "" {
		want = []string{op.event}
	}
	if got := w.emitted(t); !slices.Equal(got, want) {
		t.Errorf("error %v, got events %q, want %q", err, got, want)
	}
}

// succeed performs an operation without a failure, and returns its requests.
func succeed(t *testing.T, op operation) []string {
	t.Helper()
	w := newWorld(t, !op.stopped, op.on...)
	if err := op.do(t, w); err != nil {
		t.Fatalf("%s: %v", op.name, err)
	}
	if got := shape(w.find(t)); got != op.want {
		t.Errorf("%s: got %s, want %s", op.name, got, op.want)
	}
	w.wantEvent(t, op, nil)
	w.wantConsistent(t)
	return w.did
}

// The store can no longer be written from some request on. The next agent, with a store that can, makes
// all services match it.
func TestStoreFailureDuringChange(t *testing.T) {
	for _, op := range operations() {
		for i, requests := 0, len(succeed(t, op)); i < requests; i++ {
			t.Run(fmt.Sprintf("%s/request %d", op.name, i), func(t *testing.T) {
				w := newWorld(t, !op.stopped, op.on...)
				before := shape(w.find(t))
				w.onAny = func(string) {
					if len(w.did) > i {
						_ = w.store.Close()
					}
				}
				err := op.do(t, w)
				w.onAny = nil
				w.open(t)
				w.repair(t)
				got := shape(w.find(t))
				if got != before && got != op.want || err == nil && got != op.want {
					t.Errorf("error %v, got %s", err, got)
				}
				w.wantConsistent(t)
			})
		}
	}
}

// Wherever the agent is killed, the next one completes or undoes the change, and all services match the
// store. A second kill at any request of that does not matter.
func TestCrashDuringChange(t *testing.T) {
	for _, op := range operations() {
		for i, requests := 0, len(succeed(t, op)); i < requests; i++ {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/request %d/effect %v", op.name, i, late), func(t *testing.T) {
					w := newWorld(t, !op.stopped, op.on...)
					before := shape(w.find(t))
					for again := range 4 {
						w.did, w.fault = nil, &failure{at: i, late: late, last: true, crash: true}
						do := func() error { return w.SyncAll(t.Context()) }
						if again == 0 {
							do = func() error { return op.do(t, w) }
						} else {
							w.fault.at = again
						}
						if _, killed := w.try(t, do); !killed && again == 0 {
							t.Fatal("not killed")
						}
					}

					w.repair(t)
					if got := shape(w.find(t)); got != before && got != op.want {
						t.Errorf("got %s", got)
					}
					w.wantConsistent(t)
				})
			}
		}
	}
}
