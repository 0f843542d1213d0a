package policies_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Rules of a network that a container could not be connected to are lifted.
func TestFailedConnectLiftsHold(t *testing.T) {
	p, n, _ := newPolicies(t)
	m := member("web", "10.0.0.2")
	if err := p.Apply(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	connected := m
	connected.Endpoints = append(slices.Clone(m.Endpoints), container.Endpoint{NetworkName: "closed", Bridge: "br1",
		MAC: "02:00:00:00:00:02", Egress: []string{"none"}})
	held, err := p.Hold(t.Context(), connected)
	if !held || err != nil || len(n.rules) != 1 {
		t.Fatalf("got held %v, %v, rules %q", held, err, n.rules)
	}
	if err := p.Apply(t.Context(), m); err != nil || len(n.rules) > 0 {
		t.Errorf("got %v, rules %q, want none", err, n.rules)
	}
	if got := p.Names(m); !slices.Equal(got, []string{"all"}) {
		t.Errorf("got names %q, want all", got)
	}
}

// running stores a running container without rules.
func running(t *testing.T, s *store.Store, m policy.Member) {
	t.Helper()
	if _, err := s.AddImages(&store.Image{ID: "sha256:00"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddContainer(&container.Container{ID: m.ID, ImageID: "sha256:00", Status: container.Running,
		Config: container.Config{Name: m.Name, Image: "busybox", Network: container.Network{Mode: m.Mode}},
		Live:   &container.RunState{PID: 42, Endpoints: m.Endpoints}}); err != nil {
		t.Fatal(err)
	}
}

// Rules that ended while no supervisor ran, as by a changed configuration, are lifted everywhere.
func TestRestartLiftsFormerRules(t *testing.T) {
	p, n, s := newPolicies(t)
	m := member("web", "10.0.0.2")
	running(t, s, m)
	p.SetDefault([]string{"none"})
	if err := p.Apply(t.Context(), m); err != nil || len(n.rules) != 1 {
		t.Fatalf("got %v, rules %q", err, n.rules)
	}

	p = n.policies(s)
	p.Restore()
	if differ, err := p.Resync(t.Context()); err != nil || !slices.Equal(differ, []string{m.ID}) {
		t.Fatalf("got %q, %v", differ, err)
	}
	if got := p.Names(m); !slices.Equal(got, []string{"all"}) {
		t.Errorf("got names %q, want all", got)
	}
	if err := p.Apply(t.Context(), m); err != nil || len(n.rules) > 0 {
		t.Errorf("got %v, rules %q, want none", err, n.rules)
	}
	if differ, err := p.Resync(t.Context()); err != nil || len(differ) > 0 {
		t.Errorf("got %q, %v, want nothing", differ, err)
	}
}

// Rules whose request failed are not taken for those in force.
func TestFailedApplyStaysOutdated(t *testing.T) {
	p, n, _ := newPolicies(t)
	m := member("web", "10.0.0.2", "none")
	n.fails = fault.New(fault.Unavailable, "natagent", "does not respond")
	if err := p.Apply(t.Context(), m); err == nil {
		t.Fatal("got no error")
	}
	n.fails = nil
	if got := p.Outdated(); !slices.Equal(got, []string{m.ID}) {
		t.Errorf("got %q", got)
	}
	if err := p.Apply(t.Context(), m); err != nil || len(p.Outdated()) > 0 {
		t.Errorf("got %v, outdated %q", err, p.Outdated())
	}
	p.MarkOutdated(m.ID) // dnsagent has not followed
	if differ, err := p.Resync(t.Context()); err != nil || !slices.Equal(differ, []string{m.ID}) {
		t.Errorf("got %q, %v", differ, err)
	}
}

// Subnets of networks in rules are requested when they can have changed, not for each container.
func TestUnavailableNetagentFailsNoOthers(t *testing.T) {
	p, n, _ := newPolicies(t)
	if err := p.Apply(t.Context(), member("web", "10.0.0.2", "network:back")); err != nil {
		t.Fatal(err)
	}
	n.noNetwork = fault.New(fault.Unavailable, "netagent", "does not respond")
	other := member("other", "10.0.0.3")
	if err := p.Apply(t.Context(), other); err != nil {
		t.Errorf("launch: %v", err)
	}
	if _, err := p.Resync(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("resync: got %v", err)
	}
	if _, err := p.Leave(t.Context(), other.ID); err != nil {
		t.Errorf("end: %v", err)
	}

	moved := member("moved", "10.9.0.4") // on a subnet that the network had not
	if err := p.Apply(t.Context(), moved); !fault.Is(err, fault.Unavailable) {
		t.Errorf("new subnet: got %v", err)
	}
	n.noNetwork = nil
	if err := p.Apply(t.Context(), moved); err != nil {
		t.Error(err)
	}
	n.noNetwork = fault.New(fault.Unavailable, "netagent", "does not respond")
	if _, err := p.Leave(t.Context(), moved.ID); err != nil {
		t.Errorf("end: %v", err)
	}
}

// A new process knows no subnets. It still ends containers that no rules name.
func TestUnavailableNetagentEndsContainers(t *testing.T) {
	_, n, s := newPolicies(t)
	web, other := member("web", "10.0.0.2"), member("other", "10.0.0.3")
	running(t, s, web)
	running(t, s, other)
	if err := s.ChangePolicies([]*policy.Policy{{Name: "limits", Selector: policy.Selector{Containers: []string{"web"}},
		Egress: []string{"network:back"}}}, nil); err != nil {
		t.Fatal(err)
	}
	p := n.policies(s)
	p.Restore()
	n.noNetwork = fault.New(fault.Unavailable, "netagent", "does not respond")
	if _, err := p.Leave(t.Context(), other.ID); err != nil {
		t.Errorf("end: %v", err)
	}
}
