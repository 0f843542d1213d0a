// Package check compares the stored networks and sandboxes with the kernel, for fairlead system check.
// Package api calls it. It repairs nothing itself.
package check

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

const (
	areaNetworks  = "networks"
	areaSandboxes = "sandboxes"
	repairHint    = "fairlead system check --repair"
)

// Bringup reconciles the host with the stored networks.
type Bringup interface {
	Reconcile(context.Context) error
}

// Config holds the dependencies of a Checker.
type Config struct {
	Store   *store.Store
	Host    *kernel.Host
	Bringup Bringup
	Attach  *attach.Syncer
	Locks   *lock.Set
}

// Checker compares the store with the kernel.
type Checker struct {
	store   *store.Store
	host    *kernel.Host
	bringup Bringup
	attach  *attach.Syncer
	locks   *lock.Set
}

// New returns a checker.
func New(cfg Config) *Checker {
	return &Checker{store: cfg.Store, host: cfg.Host, bringup: cfg.Bringup, attach: cfg.Attach, locks: cfg.Locks}
}

// Run compares the stored networks and sandboxes with the kernel. With repair it reconciles first.
func (s *Checker) Run(ctx context.Context, repair bool) []diagnosis.Finding {
	var out []diagnosis.Finding
	if repair {
		if err := s.bringup.Reconcile(ctx); err != nil {
			out = append(out, diagnosis.Finding{Area: areaNetworks, Name: "repair",
				Severity: diagnosis.Problem, Text: err.Error()})
		}
		s.attach.RepairAll(ctx)
	}

	matching := 0
	for _, n := range s.store.Networks() {
		found := s.checkNetwork(n)
		if out = append(out, found...); len(found) == 0 {
			matching++
		}
	}

	out = append(out, diagnosis.Finding{Area: areaNetworks, Name: "networks",
		Text: fmt.Sprintf("%d as stored", matching)})
	matching = 0
	for _, sb := range s.store.Sandboxes() {
		found := s.checkSandbox(sb)
		if out = append(out, found...); len(found) == 0 {
			matching++
		}
	}

	return append(out, diagnosis.Finding{Area: areaSandboxes, Name: "sandboxes",
		Text: fmt.Sprintf("%d as stored", matching)})
}

// checkNetwork compares a network with its bridge, the bridge's ports and the host's neighbour entries.
func (s *Checker) checkNetwork(n store.Network) (out []diagnosis.Finding) {
	if n.Bridge().Device == "" || n.Status.Deleting || !n.IsOnHost() {
		return nil
	}

	differs := func(format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: areaNetworks, Name: n.Name, Severity: diagnosis.Problem,
			Text: fmt.Sprintf(format, args...), Hint: repairHint})
	}

	bridge, ok, err := s.host.Link(n.Bridge().Device)
	switch {
	case err != nil:
		differs("bridge %s cannot be inspected: %v", n.Bridge().Device, err)
		return out
	case !ok:
		differs("its bridge %s is missing", n.Bridge().Device)
		return out
	case !bridge.Up:
		differs("its bridge %s is down", n.Bridge().Device)
	}

	has, err := s.host.Addresses(bridge.Index)
	if err != nil {
		differs("addresses of %s cannot be listed: %v", n.Bridge().Device, err)
	}

	for _, p := range n.HostAddresses() {
		if !contains(has, p) {
			differs("bridge %s lacks the address %s", n.Bridge().Device, p)
		}
	}

	return append(out, s.checkPorts(n, bridge)...)
}

func contains(all []netip.Prefix, p netip.Prefix) bool {
	for _, have := range all {
		if have == p {
			return true
		}
	}
	return false
}

// checkPorts checks the host ends of a network's endpoints and their neighbour entries.
func (s *Checker) checkPorts(n store.Network, bridge kernel.Link) (out []diagnosis.Finding) {
	neighbours := map[netip.Addr]string{}
	all, err := s.host.Neighbours(bridge.Index)
	if err != nil {
		out = append(out, diagnosis.Finding{Area: areaNetworks, Name: n.Name, Severity: diagnosis.Problem,
			Text: err.Error()})
	}

	for _, have := range all {
		neighbours[have.Addr] = have.MAC.String()
	}

	for _, sb := range s.store.SandboxesOn(n.ID) {
		for _, e := range sb.Endpoints {
			if e.NetworkID != n.ID {
				continue
			}
			for _, text := range s.differencesOf(sb.Owner, e, bridge, neighbours) {
				out = append(out, diagnosis.Finding{Area: areaNetworks, Name: n.Name, Severity: diagnosis.Problem,
					Text: "container " + sb.DisplayName() + ": " + text, Hint: repairHint})
			}
		}
	}

	return out
}

// differencesOf returns the differences of an endpoint's port and its neighbour entries. It skips a
// sandbox that is being changed.
func (s *Checker) differencesOf(
	owner string, e endpoint.Endpoint, bridge kernel.Link, neighbours map[netip.Addr]string,
) (out []string) {
	unlock, free := s.locks.TryOwner(owner)
	if !free {
		return nil
	}
	defer unlock()

	port, ok, err := s.host.Link(e.HostInterface)
	switch {
	case err != nil:
		out = append(out, err.Error())
	case !ok:
		out = append(out, "its port "+e.HostInterface+" is missing")
	case port.Master != bridge.Index:
		out = append(out, "its port "+e.HostInterface+" is not on the bridge")
	case !port.Up:
		out = append(out, "its port "+e.HostInterface+" is down")
	}

	for _, p := range e.AllAddresses() {
		if neighbours[p.Addr()] != e.MAC.String() {
			out = append(out, fmt.Sprintf("the neighbour entry of %s is missing or wrong", p.Addr()))
		}
	}

	return out
}

// checkSandbox compares a sandbox with its namespace.
func (s *Checker) checkSandbox(sb endpoint.Sandbox) (out []diagnosis.Finding) {
	differences, err := s.attach.Compare(sb.Owner)
	if err != nil {
		differences = append(differences, "its namespace cannot be inspected: "+err.Error())
	}
	for _, text := range differences {
		out = append(out, diagnosis.Finding{Area: areaSandboxes, Name: sb.DisplayName(),
			Severity: diagnosis.Problem, Text: text, Hint: repairHint})
	}
	return out
}
