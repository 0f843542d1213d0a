// Package damage finds out which containers and bridges a kernel event concerns, and wakes the
// controllers that repair them. It covers links, addresses, routes and the rules of a container's
// resolver, and acts soon after the kernel reports the change. It repairs nothing itself but these
// rules. The root package runs it.
//
// One socket receives the events of all namespaces. An event only means that something may have
// been lost. The sandbox is then compared with the store, so neither a lost event nor a container's
// exit causes a wrong repair.
package damage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/control"
	"github.com/fairlead/fairlead/services/netagent/internal/cause"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets/redirect"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

const (
	// debounce joins bursts of events.
	debounce = 30 * time.Millisecond
	// again is the delay before a failed watch is repeated.
	again = time.Second
)

// Host receives the events of the kernel.
type Host interface {
	// WatchDamage reports what may be lost in any namespace, WatchRules the deleted rules of a table.
	WatchDamage(ctx context.Context, report func(kernel.Damage)) error
	WatchRules(ctx context.Context, table string, report func(kernel.Damage)) error
	// NamespaceNumber returns the ID of a pinned namespace in events.
	NamespaceNumber(path string) (number int, ok bool, err error)
}

// Sandboxes holds the containers' sandboxes.
type Sandboxes interface {
	Sandboxes() []endpoint.Sandbox
}

// Endpoints applies the endpoints of sandboxes.
type Endpoints interface {
	// Touch requests that the sandboxes of owners are applied, because of a program.
	Touch(program string, owners ...string)
}

// Bridges holds the networks' bridges.
type Bridges interface {
	// LinkTouched and IndexTouched report that a link of the host may have changed.
	LinkTouched(name, program string)
	IndexTouched(index int, program string)
}

// Resolvers holds the redirect rules of the containers' resolvers.
type Resolvers interface {
	// Heal restores the rules of an owner's resolver and reports whether they were missing.
	Heal(owner string) (healed bool, err error)
}

// Config holds the dependencies of a Watcher.
type Config struct {
	Host      Host
	Sandboxes Sandboxes
	Endpoints Endpoints
	Bridges   Bridges
	Resolvers Resolvers
	Log       *slog.Logger
}

// Watcher wakes controllers after external changes. It has two of its own:
//
//	places     keys: where something was lost; woken by kernel events; touches the owners
//	resolvers  keys: owners; woken by places with deleted rules; restores the rules
type Watcher struct {
	config   Config
	places   *control.Controller[place]
	rules    *control.Controller[string]
	programs cause.Programs[place]
	owners   cause.Programs[string] // of rules
	numbers  map[string]int         // IDs of the owners' namespaces; only places uses it
}

// place denotes a namespace or a link in which something may have been lost.
type place struct {
	namespace int    // kernel.HostNamespace: the host end of an endpoint
	link      string // the host end
	anywhere  bool   // events were dropped
	rules     bool   // firewall rules of the namespace were deleted
}

// New returns a watcher.
func New(cfg Config) *Watcher {
	w := &Watcher{config: cfg, numbers: map[string]int{}}
	w.places = control.New(w.touchOwners, control.Config[place]{Delay: debounce})
	w.rules = control.New(w.restoreRules, control.Config[string]{MinBackoff: again,
		OnError: func(owner string, err error, _ time.Duration) {
			cfg.Log.Error("resolver rules cannot be repaired", "owner", owner, "error", err)
		}})
	return w
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { w.insist(ctx, func() error { return w.config.Host.WatchDamage(ctx, w.damaged) }) })
	all.Go(func() {
		w.insist(ctx, func() error { return w.config.Host.WatchRules(ctx, redirect.TableName, w.flushed) })
	})
	all.Go(func() { w.places.Run(ctx) })
	all.Go(func() { w.rules.Run(ctx) })
}

// insist repeats a watch that fails.
func (w *Watcher) insist(ctx context.Context, watch func() error) {
	for ctx.Err() == nil {
		if err := watch(); err != nil {
			w.config.Log.Warn("kernel watch failed, containers are not repaired", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}
}

func (w *Watcher) add(p place, program string) {
	w.programs.Note(program, p)
	w.places.Add(p)
}

// flushed reports deleted rules of a namespace.
func (w *Watcher) flushed(d kernel.Damage) {
	if d.Lost || d.Namespace != kernel.HostNamespace {
		w.add(place{namespace: d.Namespace, anywhere: d.Lost, rules: true}, d.Program)
	}
}

// damaged passes events of bridges on and queues those of containers.
func (w *Watcher) damaged(d kernel.Damage) {
	switch {
	case d.Lost || d.Namespace != kernel.HostNamespace:
		w.add(place{namespace: d.Namespace, anywhere: d.Lost}, d.Program)
	case d.Link != "":
		w.config.Bridges.LinkTouched(d.Link, d.Program)
		if endpoint.IsHostInterface(d.Link) {
			w.add(place{namespace: kernel.HostNamespace, link: d.Link}, d.Program)
		}
	default:
		w.config.Bridges.IndexTouched(d.Index, d.Program)
	}
}

// touchOwners wakes the controllers of the sandboxes that a place concerns.
func (w *Watcher) touchOwners(_ context.Context, p place) (again time.Duration, err error) {
	program := w.programs.Take(p)
	owners := w.ownersOf(p, w.config.Sandboxes.Sandboxes())
	w.config.Endpoints.Touch(program, owners...)
	if p.rules {
		for _, owner := range owners {
			w.owners.Note(program, owner)
		}
		w.rules.Add(owners...)
	}
	return 0, nil
}

// restoreRules restores the rules of an owner's resolver.
func (w *Watcher) restoreRules(_ context.Context, owner string) (again time.Duration, err error) {
	program := cause.OrUnknown(w.owners.Take(owner))
	healed, err := w.config.Resolvers.Heal(owner)
	if healed {
		w.config.Log.Warn("resolver rules repaired after an external change", "owner", owner, "program", program)
	}
	return 0, err
}

// ownersOf returns the owners of the sandboxes that a place concerns.
func (w *Watcher) ownersOf(p place, sandboxes []endpoint.Sandbox) (out []string) {
	if p.namespace != kernel.HostNamespace && !p.anywhere {
		w.count(sandboxes)
	}

	for _, sb := range sandboxes {
		number, known := w.numbers[sb.Owner]
		switch {
		case p.anywhere, p.namespace != kernel.HostNamespace && known && number == p.namespace:
			out = append(out, sb.Owner)
		case p.namespace == kernel.HostNamespace:
			for _, e := range sb.Endpoints {
				if e.HostInterface == p.link {
					out = append(out, sb.Owner)
				}
			}
		}
	}

	return out
}

// count adds missing namespace IDs and removes those of deleted sandboxes, as the kernel reuses
// IDs.
func (w *Watcher) count(sandboxes []endpoint.Sandbox) {
	there := make(map[string]bool, len(sandboxes))
	for _, sb := range sandboxes {
		there[sb.Owner] = true
		if _, known := w.numbers[sb.Owner]; known || sb.NetnsPath == "" {
			continue
		}
		if number, ok, err := w.config.Host.NamespaceNumber(sb.NetnsPath); ok && err == nil {
			w.numbers[sb.Owner] = number
		}
	}

	for owner := range w.numbers {
		if !there[owner] {
			delete(w.numbers, owner)
		}
	}
}
