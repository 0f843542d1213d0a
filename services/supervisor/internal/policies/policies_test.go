package policies_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// nat fakes natagent and netagent. It records requests.
type nat struct {
	natv1.PolicyServiceClient
	networkv1.NetworkServiceClient

	mu        sync.Mutex
	did       []string
	rules     map[string][]string
	fails     error
	noNetwork error    // of GetNetwork
	egress    []string // rules of network back
}

// newPolicies returns Policies of a new store, and the services that they call.
func newPolicies(t *testing.T) (*policies.Policies, *nat, *store.Store) {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	n := &nat{rules: map[string][]string{}}
	return n.policies(s), n, s
}

// policies returns Policies as of a new process.
func (n *nat) policies(s *store.Store) *policies.Policies {
	return policies.New(policies.Config{Log: slog.New(slog.DiscardHandler), Store: s,
		Agents: agents.New(agents.Config{Policies: n, Networks: n})})
}

func (n *nat) do(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did = append(n.did, fmt.Sprintf(format, args...))
	return n.fails
}

func (n *nat) PutPolicy(_ context.Context, r *natv1.PutPolicyRequest, _ ...grpc.CallOption) (*natv1.PutPolicyResponse,
	error) {
	n.rules[r.GetOwner()] = r.GetRules()
	return nil, n.do("put %s %s", r.GetOwnerName(), strings.Join(r.GetRules(), ","))
}

func (n *nat) DeletePolicy(_ context.Context, r *natv1.DeletePolicyRequest,
	_ ...grpc.CallOption) (*natv1.DeletePolicyResponse, error) {
	delete(n.rules, r.GetOwner())
	return nil, n.do("delete")
}

func (n *nat) ListPolicies(context.Context, *natv1.ListPoliciesRequest,
	...grpc.CallOption) (*natv1.ListPoliciesResponse, error) {
	resp := &natv1.ListPoliciesResponse{}
	for owner, rules := range n.rules {
		resp.Policies = append(resp.Policies, &natv1.Policy{Owner: owner, Rules: rules})
	}
	return resp, nil
}

func (n *nat) PutPeers(_ context.Context, r *natv1.PutPeersRequest, _ ...grpc.CallOption) (*natv1.PutPeersResponse,
	error) {
	var all []string
	for _, p := range r.GetPeers() {
		all = append(all, strings.Join(append([]string{p.GetName() + "=" + strings.Join(p.GetPrefixes(), "+")},
			p.GetOtherHosts()...), "|"))
	}
	slices.Sort(all)
	if r.GetOtherHostsUnknown() {
		all = append(all, "others unknown")
	}
	return nil, n.do("peers %s", strings.Join(all, " "))
}

func (n *nat) GetNetwork(_ context.Context, r *networkv1.GetNetworkRequest,
	_ ...grpc.CallOption) (*networkv1.GetNetworkResponse, error) {
	if n.noNetwork != nil {
		return nil, n.noNetwork
	}
	if r.GetReference() != "back" {
		return nil, fault.NotFoundf("network", "not found")
	}
	pools := []*networkv1.Pool{{Subnet: "10.0.0.0/24"}}
	return &networkv1.GetNetworkResponse{Network: &networkv1.Network{Name: "back", Pools: pools, Egress: n.egress}}, nil
}

func member(name, address string, rules ...string) policy.Member {
	return policy.Member{ID: fmt.Sprintf("%064x", name), Name: name, Mode: "back", Own: policy.Rules{Egress: rules},
		Labels: map[string]string{"name": name},
		Endpoints: []container.Endpoint{{NetworkName: "back", Bridge: "br0", IPv4: address + "/24",
			MAC: "02:00:00:00:00:01"}}}
}

// TestPeersFollowContainers checks what is sent while containers come and go.
func TestPeersFollowContainers(t *testing.T) {
	p, n, s := newPolicies(t)
	apply := func(m policy.Member) func() error {
		return func() error { return p.Apply(t.Context(), m) }
	}
	leave := func(m policy.Member) func() error {
		return func() error { _, err := p.Leave(t.Context(), m.ID); return err }
	}
	web, db := member("web", "10.0.0.2", "container:db", "label:name=api", "network:back"), member("db", "10.0.0.3")
	const back = " network:back=10.0.0.0/24"
	for i, c := range []struct {
		do   func() error
		want []string
	}{
		{apply(member("api", "10.0.0.4")), nil},
		{apply(web), []string{"peers container:db= label:name=api=10.0.0.4/32" + back,
			"put web container:db,label:name=api,network:back"}},
		{apply(db), []string{"peers container:db=10.0.0.3/32 label:name=api=10.0.0.4/32" + back}},
		{apply(db), nil},
		{leave(db), []string{"peers container:db= label:name=api=10.0.0.4/32" + back}},
		{apply(member("other", "10.0.0.3")), nil},
		{apply(member("web", "10.0.0.2")), []string{"peers ", "delete"}},
		{leave(web), nil},
	} {
		n.did = nil
		if err := c.do(); err != nil || !slices.Equal(n.did, c.want) {
			t.Errorf("%d: got %q, %v, want %q", i, n.did, err, c.want)
		}
	}

	if err := s.ChangePolicies([]*policy.Policy{{Name: "limits", Selector: policy.Selector{Containers: []string{"o*"}},
		Egress: []string{"none"}}}, nil); err != nil {
		t.Fatal(err)
	}
	if differ, err := p.Resync(t.Context()); err != nil || !slices.Equal(differ, []string{member("other", "").ID}) {
		t.Errorf("got %q, %v", differ, err)
	}
	host := member("on", "10.0.0.9")
	host.Mode = container.ModeHost
	if err := p.Check(host); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "policy limits") {
		t.Errorf("host network: %v", err)
	}
	n.fails = fault.New(fault.Unavailable, "natagent", "does not respond")
	if err := p.Apply(t.Context(), member("other", "10.0.0.3")); err == nil {
		t.Error("a policy that is not in force was not reported")
	}
}
