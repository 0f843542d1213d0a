package launch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// joined is the ID of a container that joined another.
const joined = "1111111111111111111111111111111111111111111111111111111111111111"

// The processes of joined containers run when the owner of the network ends. Its rules are in force until
// its endpoints are gone, whichever request fails.
func TestRulesOutlastEndpointsOfJoined(t *testing.T) {
	for _, detached := range []bool{false, true} {
		for _, failing := range []string{"", "block endpoints", "release sandbox", "delete policy"} {
			h := newHost(t)
			req := request()
			req.Config.Network.DropSharers = detached
			l, err := h.Run(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Store.AddContainer(&container.Container{ID: joined, ImageID: h.image.ID,
				Status: container.Running,
				Live:   &container.RunState{PID: 43, SharedWith: l.Container.ID}}); err != nil {
				t.Fatal(err)
			}
			h.Joins.Add(joined, l.Container.ID)
			h.did, h.fail = nil, failing
			if err := h.Release(t.Context(), l.Container); (err != nil) != (failing != "") {
				t.Errorf("%q fails: got %v", failing, err)
			}
			if failing != "" {
				_ = h.Release(t.Context(), l.Container)
			}

			first := slices.Index(h.did, "after block endpoints")
			released, deleted := slices.Index(h.did, "release sandbox"), slices.Index(h.did, "delete policy")
			if first < 0 || released < first || deleted < released {
				t.Errorf("detached %v, %q fails: got %q", detached, failing, h.did)
			}
			if slices.Contains(h.held, "policy") || slices.Contains(h.held, "sandbox") {
				t.Errorf("detached %v, %q fails: %q stay", detached, failing, h.held)
			}
		}
	}
}

// The last joined container releases what the end of the owner could not.
func TestLastJoinedReleasesRules(t *testing.T) {
	h := newHost(t)
	l, err := h.Run(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	h.Joins.Add(joined, l.Container.ID)
	h.fail, h.down = "block endpoints", true
	if err := h.Release(t.Context(), l.Container); err == nil {
		t.Error("got no error")
	}
	if !slices.Contains(h.held, "policy") {
		t.Errorf("got %q held, want the policy", h.held)
	}
	h.down = false
	h.Lives.Forget(l.Container.ID, l.Run)

	c := &container.Container{ID: joined, Config: container.Config{Network: container.Network{
		Mode: container.ModeJoin(l.Container.ID)}}}
	if err := h.Release(t.Context(), c); err != nil {
		t.Error(err)
	}
	if slices.Contains(h.held, "policy") || slices.Contains(h.held, "sandbox") {
		t.Errorf("got %q held", h.held)
	}
}

// Rules that were put while a container joins are checked before its process starts.
func TestJoiningWhileRulesArePut(t *testing.T) {
	h := newHost(t)
	req := request()
	req.Config.Network.Egress = nil
	owner, err := h.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	h.set(func() {
		h.did = nil
		h.onBegin = func(name string) {
			if name != "create process" {
				return
			}
			err := h.Policies.Apply(t.Context(), policy.Member{ID: owner.Container.ID, Name: "web",
				Own: policy.Rules{Egress: []string{"none"}}, Endpoints: []container.Endpoint{{NetworkName: "lan",
					Driver: "macvlan", IPv4: "10.0.0.2/24"}}})
			if err != nil {
				t.Error(err)
			}
		}
	})

	_, err = h.Run(t.Context(), launch.Request{Config: container.Config{Name: "joiner", Image: "busybox",
		Command: []string{"true"}, Network: container.Network{Mode: container.ModeJoin(owner.Container.ID)}}})
	if err == nil || !strings.Contains(err.Error(), "the container has CAP_NET_RAW") {
		t.Errorf("got %v", err)
	}
	if slices.Contains(h.did, "start process") {
		t.Errorf("got %q, want no process", h.did)
	}
}
