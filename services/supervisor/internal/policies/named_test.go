package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// The rules of its networks apply to a stopped container as well.
func TestStoppedContainerHasRulesOfNetworks(t *testing.T) {
	p, n, s := newPolicies(t)
	if _, err := s.AddImages(&store.Image{ID: "sha256:00"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddContainer(&container.Container{ID: member("web", "").ID, ImageID: "sha256:00",
		Status: container.Exited, Config: container.Config{Name: "web", Network: container.Network{Mode: "back",
			Attachments: []container.Attachment{{Network: "back"}, {Network: "removed"}}}}}); err != nil {
		t.Fatal(err)
	}
	n.egress = []string{"lan"}
	sources, decisions, err := p.Explain(t.Context(), "web", "192.0.2.1:80", false)
	if err != nil || len(sources) != 1 || sources[0].Name != "network back" || len(decisions) != 1 ||
		decisions[0].Allowed {
		t.Errorf("got %v, %+v, %v", sources, decisions, err)
	}
	n.noNetwork = fault.New(fault.Unavailable, "netagent", "does not respond")
	if _, _, err := p.Explain(t.Context(), "web", "", false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without netagent: got %v", err)
	}
}

// Policies that are valid alone can have too many rules together.
func TestTooManyRulesAreRejected(t *testing.T) {
	p, n, _ := newPolicies(t)
	if err := p.Apply(t.Context(), member("web", "10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	var put []*policy.Policy
	for i := range 2 {
		one := &policy.Policy{Name: fmt.Sprint("half", i), Selector: policy.Selector{Containers: []string{"*"}}}
		for port := range 600 {
			one.Egress = append(one.Egress, fmt.Sprintf("lan:%d", 1+600*i+port))
		}
		put = append(put, one)
	}
	if _, err := p.Store(policies.Change{Put: put[:1]}, false); err != nil {
		t.Fatal(err)
	}
	_, err := p.Store(policies.Change{Put: put}, false)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "1200 rules, at most 1000") {
		t.Errorf("got %v", err)
	}
	if len(n.rules) > 0 || len(p.List()) != 1 {
		t.Errorf("got %d policies, rules %q", len(p.List()), n.rules)
	}
}

// Rules of a policy that have no effect, and containers and networks that do not exist, are warned about.
func TestAdviceAboutPolicies(t *testing.T) {
	p, n, s := newPolicies(t)
	if _, err := s.AddImages(&store.Image{ID: "sha256:00"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddContainer(&container.Container{ID: member("web", "").ID, ImageID: "sha256:00",
		Status: container.Exited, Config: container.Config{Name: "web", Network: container.Network{Mode: "back",
			Attachments: []container.Attachment{{Network: "back"}}}}}); err != nil {
		t.Fatal(err)
	}
	one := &policy.Policy{Name: "jobs", Selector: policy.Selector{Networks: []string{"back"}},
		Egress: []string{"internet,!internet", "container:web:80"}, Ingress: []string{"!lan"}}
	got := p.AdviceFor(t.Context(), []*policy.Policy{one})
	want := []string{"policy jobs: egress: rule internet allows nothing, !internet denies all of it",
		"policy jobs: ingress: the rules only deny, and what no rule allows is refused too; " +
			"add what is allowed, such as all"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	n.noNetwork = fault.New(fault.NotFound, "network", "no such network")
	one = &policy.Policy{Name: "jobs", Selector: policy.Selector{Networks: []string{"front"}},
		Egress: []string{"container:db:80,container:web,network:front"}}
	got = p.AdviceFor(t.Context(), []*policy.Policy{one})
	want = []string{"policy jobs: egress: container:db does not exist yet",
		"policy jobs: egress: network:front does not exist yet", "policy jobs: network front does not exist yet",
		"policy jobs: selects none of the containers that exist"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
