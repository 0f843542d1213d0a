package follow_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// A stop, a removal and a health check store their state without the lock of the container. No change
// that waits for another service meanwhile overwrites it.
func TestChangeKeepsConcurrentUpdates(t *testing.T) {
	for _, op := range operations() {
		for i, requests := 0, len(succeed(t, op)); i < requests; i++ {
			t.Run(fmt.Sprintf("%s/request %d", op.name, i), func(t *testing.T) {
				w := newWorld(t, !op.stopped, op.on...)
				w.onAny = func(string) {
					if len(w.did) != i+1 {
						return
					}
					_, err := w.store.UpdateContainer(owner, func(c *container.Container) *container.Container {
						n := *c.Wanted(container.Ending{Goal: container.GoalRemoved})
						n.RemoveVolumes, n.Restarts.Stopped = true, true
						n.Health = &healthcheck.Health{Status: healthcheck.Unhealthy}
						return &n
					})
					if err != nil {
						t.Error(err)
					}
				}
				if err := op.do(t, w); err != nil {
					t.Fatal(err)
				}
				c := w.find(t)
				if c.Ending == nil || c.Ending.Goal != container.GoalRemoved || !c.RemoveVolumes ||
					!c.Restarts.Stopped || c.Health == nil || c.Health.Status != healthcheck.Unhealthy {
					t.Errorf("lost an update: got %+v", c)
				}
				if got := shape(c); got != op.want {
					t.Errorf("got %s, want %s", got, op.want)
				}
				w.wantConsistent(t)
			})
		}
	}
}

// A network that was removed meanwhile does not keep a container from leaving it.
func TestDisconnectFromRemovedNetwork(t *testing.T) {
	w := newWorld(t, true, container.Attachment{Network: "n0"}, container.Attachment{Network: "n1"})
	w.removed["n1"], w.connected = true, []string{"n0"}
	if err := w.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}
	w.wantConsistent(t)
	if got := shape(w.find(t)); got != "web n0 8080:80/tcp" {
		t.Errorf("got %s", got)
	}
	err := w.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("connect: got %v", err)
	}
	w.wantConsistent(t)
}

// A refused change requests nothing of another service that changes it.
func TestRefusedChangeTouchesNothing(t *testing.T) {
	n0 := container.Attachment{Network: "n0"}
	for name, c := range map[string]struct {
		change func(w *world, c *container.Container) *container.Container
		do     func(w *world) error
		kind   fault.Kind
	}{
		"connect twice": {nil, func(w *world) error { return w.ConnectNetwork(t.Context(), "web", n0) }, fault.Exists},
		"disconnect without a connection": {nil,
			func(w *world) error { return w.DisconnectNetwork(t.Context(), "web", "n1") }, fault.NotFound},
		"rename to a reserved name": {func(w *world, c *container.Container) *container.Container {
			w.Names.Take("shop")
			return c
		}, func(w *world) error { return w.Rename(t.Context(), "web", "shop") }, fault.Exists},
		"rename during a removal": {func(_ *world, c *container.Container) *container.Container {
			return c.InStatus(container.Removing)
		}, func(w *world) error { return w.Rename(t.Context(), "web", "shop") }, fault.Conflict},
		"unpublish what is not published": {nil, func(w *world) error {
			return w.UnpublishPorts(t.Context(), "web", []port.Mapping{mapping(9000)}, nil, false)
		}, fault.NotFound},
		"publish twice": {nil, func(w *world) error {
			_, _, err := w.PublishPorts(t.Context(), "web", []port.Mapping{mapping(8080)}, nil)
			return err
		}, fault.Exists},
	} {
		w := newWorld(t, true, n0)
		if c.change != nil {
			_, err := w.store.UpdateContainer(owner, func(now *container.Container) *container.Container {
				n := *now
				return c.change(w, &n)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.do(w); !fault.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
		w.did = slices.DeleteFunc(w.did, func(r string) bool { return r == "find network" })
		if len(w.did) > 0 || w.find(t).Change != nil {
			t.Errorf("%s: got requests %q", name, w.did)
		}
	}
}

// Rules are in force before a running container is connected, and again with its addresses.
func TestConnectHoldsInterface(t *testing.T) {
	w := newWorld(t, true, container.Attachment{Network: "n0"})
	if _, err := w.store.UpdateContainer(owner, func(c *container.Container) *container.Container {
		n := *c
		n.Config.Network.Egress = []string{"10.0.0.0/8"}
		return &n
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}
	w.did = slices.DeleteFunc(w.did, func(r string) bool { return r == "find network" })
	if want := []string{"put policy", "connect", "put policy"}; len(w.did) < 3 || !slices.Equal(w.did[:3], want) {
		t.Errorf("got requests %q, want %q first", w.did, want)
	}
}

// Whichever request fails, the former egress policy is in force again in natagent and dnsagent.
func TestFailedEgressUpdateRestoresPolicy(t *testing.T) {
	for _, before := range [][]string{nil, {"10.0.0.0/8"}} {
		for _, failing := range []string{"", "put policy", "find network", "update names"} {
			w := newWorld(t, true, container.Attachment{Network: "n0"})
			c := *w.find(t)
			c.Config.Network.Egress = before
			w.rules = before
			w.onAny = func(request string) {
				if request == failing && w.fault == nil {
					w.fault = &failure{at: len(w.did) - 1, last: true, late: true, kind: fault.Unavailable}
				}
			}

			now, err := follow.Egress{Follower: w.Follower}.Update(t.Context(), &c,
				policy.Rules{Egress: []string{"192.0.2.0/24"}})
			want := before
			if failing == "" {
				want = []string{"192.0.2.0/24"}
			}
			if (err != nil) != (failing != "") || !slices.Equal(now.Egress, want) {
				t.Errorf("%v fails: got %v, %v, want %v", failing, now, err, want)
			}
			if !slices.Equal(w.rules, want) {
				t.Errorf("%q fails: got rules %q in natagent, want %q", failing, w.rules, want)
			}
			if want == nil {
				want = []string{"all"} // lifts what dnsagent had
			}
			if !slices.Equal(w.dnsRules, want) {
				t.Errorf("%q fails: got rules %q in dnsagent, want %q", failing, w.dnsRules, want)
			}
		}
	}
}
