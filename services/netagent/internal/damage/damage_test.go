package damage_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/damage"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// world is a host without a kernel and with the things that a watcher wakes.
type world struct {
	mu      sync.Mutex
	woken   []string
	report  func(kernel.Damage)
	flushed func(kernel.Damage)
	refuse  int // healing fails this often
}

func (w *world) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = append(w.woken, s)
}

// take returns the calls since the last time, sorted.
func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.woken
	w.woken = nil
	slices.Sort(out)
	return out
}

func (w *world) WatchDamage(ctx context.Context, report func(kernel.Damage)) error {
	w.report = report
	<-ctx.Done()
	return nil
}

func (w *world) WatchRules(ctx context.Context, _ string, report func(kernel.Damage)) error {
	w.flushed = report
	<-ctx.Done()
	return nil
}

func (w *world) NamespaceNumber(path string) (int, bool, error) {
	return map[string]int{"/pins/a": 7, "/pins/b": 8}[path], true, nil
}

func (w *world) Sandboxes() []endpoint.Sandbox {
	return []endpoint.Sandbox{
		{Owner: "a", NetnsPath: "/pins/a", Endpoints: []endpoint.Endpoint{{HostInterface: "vetha"}}},
		{Owner: "b", NetnsPath: "/pins/b", Endpoints: []endpoint.Endpoint{
			{HostInterface: endpoint.HostInterface("b0b0b0b0")}}}}
}

func (w *world) Touch(program string, owners ...string) {
	for _, owner := range owners {
		w.note("apply " + owner + " because of " + program)
	}
}

func (w *world) LinkTouched(name, _ string) { w.note("link " + name) }
func (w *world) IndexTouched(int, string)   { w.note("address") }

func (w *world) Heal(owner string) (bool, error) {
	w.note("resolver of " + owner)
	if w.refuse--; w.refuse >= 0 {
		return false, errors.New("busy")
	}
	return true, nil
}

func TestEventsWakeTheirOwners(t *testing.T) {
	for name, c := range map[string]struct {
		events []kernel.Damage
		rules  bool // the events are about rules
		want   []string
	}{
		"address in a namespace": {[]kernel.Damage{{Namespace: 7, Index: 2, Program: "ip"}}, false,
			[]string{"apply a because of ip"}},
		"a burst": {[]kernel.Damage{{Namespace: 7, Index: 2}, {Namespace: 7, Index: 2, Program: "ip"},
			{Namespace: 7, Link: "eth0"}}, false, []string{"apply a because of ip"}},
		"unknown namespace": {[]kernel.Damage{{Namespace: 9, Index: 2}}, false, nil},
		"dropped events": {[]kernel.Damage{{Lost: true}}, false,
			[]string{"apply a because of ", "apply b because of "}},
		"host end": {[]kernel.Damage{{Namespace: kernel.HostNamespace, Link: endpoint.HostInterface("b0b0b0b0")}},
			false,
			[]string{"apply b because of ", "link " + endpoint.HostInterface("b0b0b0b0")}},
		"bridge": {[]kernel.Damage{{Namespace: kernel.HostNamespace, Link: "docker0"}}, false,
			[]string{"link docker0"}},
		"host address": {[]kernel.Damage{{Namespace: kernel.HostNamespace, Index: 3}}, false, []string{"address"}},
		"rules": {[]kernel.Damage{{Namespace: 8, Program: "nft"}}, true,
			[]string{"apply b because of nft", "resolver of b"}},
		"rules of hosts": {[]kernel.Damage{{Namespace: kernel.HostNamespace}}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				defer w.start(t)()
				for _, e := range c.events {
					if c.rules {
						w.flushed(e)
					} else {
						w.report(e)
					}
				}
				time.Sleep(time.Second)
				if got := w.take(); !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestRulesAreRestoredAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{refuse: 2}
		defer w.start(t)()
		w.flushed(kernel.Damage{Namespace: 7})
		time.Sleep(time.Minute)
		want := []string{"apply a because of ", "resolver of a", "resolver of a", "resolver of a"}
		if got := w.take(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// start runs a watcher and returns the function that stops it.
func (w *world) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		damage.New(damage.Config{Host: w, Sandboxes: w, Endpoints: w, Bridges: w, Resolvers: w,
			Log: slog.New(slog.DiscardHandler)}).Run(ctx)
	})
	synctest.Wait()
	return func() { cancel(); ended.Wait() }
}
