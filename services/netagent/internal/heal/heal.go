// Package heal repairs the interfaces of running containers after external changes. It covers
// links, addresses, routes and the rules of a container's resolver, and acts soon after the kernel
// reports the change. Package bringup repairs bridges, on the same events.
//
// One socket receives the events of all namespaces. An event only means that something may have
// been lost. The sandbox is then compared with the store, so neither a lost event nor a container's
// exit causes a wrong repair.
package heal

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets/redirect"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// debounce joins bursts of events.
	debounce = 30 * time.Millisecond
	// again is the delay before a failed watch is repeated.
	again = time.Second
)

// Sandboxes holds the containers' sandboxes.
type Sandboxes interface {
	Sandboxes() []network.Sandbox
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

// Healer watches for external changes and repairs them.
type Healer struct {
	Host      *kernel.Host
	Sandboxes Sandboxes
	Endpoints Endpoints
	Bridges   Bridges
	Resolvers Resolvers
	Log       *slog.Logger

	mu      sync.Mutex
	reports []report
	wake    notify.Signal

	numbers map[string]int // IDs of the owners' namespaces
}

// report is an event to process.
type report struct {
	kernel.Damage
	rules bool // firewall rules of the namespace were deleted
}

// Run watches until ctx ends.
func (h *Healer) Run(ctx context.Context) {
	h.wake, h.numbers = notify.NewSignal(), map[string]int{}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { h.insist(ctx, func() error { return h.Host.WatchDamage(ctx, h.damaged) }) })
	all.Go(func() { h.insist(ctx, func() error { return h.Host.WatchRules(ctx, redirect.TableName, h.flushed) }) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			time.Sleep(debounce)
			h.repair(h.take())
		}
	}
}

// insist repeats a watch that fails.
func (h *Healer) insist(ctx context.Context, watch func() error) {
	for ctx.Err() == nil {
		if err := watch(); err != nil {
			h.Log.Warn("kernel watch failed, containers are not repaired", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}
}

func (h *Healer) note(r report) {
	h.mu.Lock()
	h.reports = append(h.reports, r)
	h.mu.Unlock()
	h.wake.Notify()
}

func (h *Healer) take() []report {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.reports
	h.reports = nil
	return out
}

func (h *Healer) flushed(d kernel.Damage) {
	if d.Lost || d.Namespace != kernel.HostNamespace {
		h.note(report{d, true})
	}
}

// damaged passes events of bridges on and queues those of containers.
func (h *Healer) damaged(d kernel.Damage) {
	switch {
	case d.Lost || d.Namespace != kernel.HostNamespace:
		h.note(report{Damage: d})
	case d.Link != "":
		h.Bridges.LinkTouched(d.Link, d.Program)
		if network.IsHostInterface(d.Link) {
			h.note(report{Damage: d})
		}
	default:
		h.Bridges.IndexTouched(d.Index, d.Program)
	}
}

// repair repairs the sandboxes that the reports concern.
func (h *Healer) repair(reports []report) {
	programs, rules := map[string]string{}, map[string]bool{}
	sandboxes := h.Sandboxes.Sandboxes()
	for _, r := range reports {
		for _, owner := range h.ownersOf(r.Damage, sandboxes) {
			if programs[owner] == "" {
				programs[owner] = r.Program
			}
			rules[owner] = rules[owner] || r.rules
		}
	}

	for owner, program := range programs {
		h.Endpoints.Touch(program, owner)
		if rules[owner] {
			h.healResolver(owner, program)
		}
	}
}

// healResolver restores the rules of an owner's resolver.
func (h *Healer) healResolver(owner, program string) {
	if program == "" {
		program = "unknown"
	}
	healed, err := h.Resolvers.Heal(owner)
	if err != nil {
		h.Log.Error("resolver rules cannot be repaired", "owner", owner, "program", program, "error", err)
	}
	if healed {
		h.Log.Warn("resolver rules repaired after an external change", "owner", owner, "program", program)
	}
}

// ownersOf returns the owners of the sandboxes that an event concerns.
func (h *Healer) ownersOf(d kernel.Damage, sandboxes []network.Sandbox) (out []string) {
	if d.Namespace != kernel.HostNamespace && !d.Lost {
		h.count(sandboxes)
	}

	for _, sb := range sandboxes {
		number, known := h.numbers[sb.Owner]
		switch {
		case d.Lost, d.Namespace != kernel.HostNamespace && known && number == d.Namespace:
			out = append(out, sb.Owner)
		case d.Namespace == kernel.HostNamespace:
			for _, e := range sb.Endpoints {
				if e.HostInterface == d.Link {
					out = append(out, sb.Owner)
				}
			}
		}
	}

	return out
}

// count adds missing namespace IDs and removes those of deleted sandboxes, as the kernel reuses
// IDs.
func (h *Healer) count(sandboxes []network.Sandbox) {
	there := make(map[string]bool, len(sandboxes))
	for _, sb := range sandboxes {
		there[sb.Owner] = true
		if _, known := h.numbers[sb.Owner]; known || sb.NetnsPath == "" {
			continue
		}
		if number, ok, err := h.Host.NamespaceNumber(sb.NetnsPath); ok && err == nil {
			h.numbers[sb.Owner] = number
		}
	}

	for owner := range h.numbers {
		if !there[owner] {
			delete(h.numbers, owner)
		}
	}
}
