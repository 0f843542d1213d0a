package follow_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// closed returns a policy that closes all containers, with an assertion.
func closed(allowed bool) []*policy.Policy {
	return []*policy.Policy{{Name: "closed", Selector: policy.Selector{Containers: []string{"*"}},
		Egress: []string{"none"}, Tests: []policy.Test{{Container: "web", Peer: "192.0.2.1:80", Allowed: allowed}}}}
}

// restarted returns a world whose supervisor was started again after its container.
func restarted(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, true, container.Attachment{Network: "n0"})
	w.Policies.Restore()
	return w
}

// A policy that could not be put in force is tried again when it is applied again, and by the sync.
func TestRepeatedApplyIsInForce(t *testing.T) {
	for _, failing := range []string{"put policy", "update names"} {
		for _, again := range []string{"apply", "sync"} {
			w := restarted(t)
			w.onAny = func(request string) {
				if request == failing && w.fault == nil {
					w.fault = &failure{at: len(w.did) - 1, last: true, kind: fault.Unavailable}
				}
			}
			egress := follow.Egress{Follower: w.Follower}
			if _, err := egress.ApplyPolicies(t.Context(), closed(false), false); err == nil {
				t.Errorf("%s fails: got no error", failing)
			}
			w.onAny = nil
			if again == "sync" {
				w.repair(t)
			} else {
				applied, err := egress.ApplyPolicies(t.Context(), closed(false), false)
				if err != nil || applied.Changed != 1 {
					t.Errorf("%s failed, again: got %d changed, %v", failing, applied.Changed, err)
				}
			}
			for service, got := range map[string][]string{"natagent": w.rules, "dnsagent": w.dnsRules} {
				if !slices.Equal(got, []string{"none"}) {
					t.Errorf("%s failed, %s: got rules %q in %s", failing, again, got, service)
				}
			}
		}
	}
}

// Policies whose assertions are not true are not stored.
func TestFailedAssertionChangesNothing(t *testing.T) {
	for name, put := range map[string][]*policy.Policy{"wrong": closed(true), "no container": closed(false)} {
		w := restarted(t)
		if name == "no container" {
			put[0].Tests[0].Container = "nosuch"
		}
		got, err := follow.Egress{Follower: w.Follower}.ApplyPolicies(t.Context(), put, false)
		if err != nil || got.Changed != 0 || len(got.Results) != 1 || !got.Results[0].Failed() {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if len(w.store.ListPolicies()) > 0 || w.rules != nil {
			t.Errorf("%s: stored %d, rules %q", name, len(w.store.ListPolicies()), w.rules)
		}
	}
}

// A policy that is removed just before a crash is lifted in all services afterwards, wherever it happens.
func TestCrashDuringRemovalLiftsPolicy(t *testing.T) {
	for _, at := range []string{"find network", "update names", "delete policy"} {
		for _, late := range []bool{false, true} {
			w := restarted(t)
			egress := follow.Egress{Follower: w.Follower}
			if _, err := egress.ApplyPolicies(t.Context(), closed(false), false); err != nil {
				t.Fatal(err)
			}
			if err := w.store.ChangePolicies(nil, []string{"closed"}); err != nil {
				t.Fatal(err)
			}
			w.onAny = func(request string) {
				if request == at && w.fault == nil {
					w.fault = &failure{at: len(w.did) - 1, late: late, last: true, crash: true}
				}
			}
			if err, killed := w.try(t, func() error { return w.SyncAll(t.Context()) }); !killed {
				t.Errorf("%s: not killed, %v", at, err)
			}

			w.onAny = nil
			w.Policies.Restore()
			w.repair(t)
			if w.rules != nil || !slices.Equal(w.dnsRules, []string{"all"}) {
				t.Errorf("%s, %v: got rules %q in natagent, %q in dnsagent", at, late, w.rules, w.dnsRules)
			}
		}
	}
}

// A policy that dnsagent could not lift is lifted by the next process, which finds it in natagent.
func TestFailedLiftIsRepeatedByNextProcess(t *testing.T) {
	w := restarted(t)
	egress := follow.Egress{Follower: w.Follower}
	if _, err := egress.ApplyPolicies(t.Context(), closed(false), false); err != nil {
		t.Fatal(err)
	}
	w.onAny = func(request string) {
		if request == "update names" && w.fault == nil {
			w.fault = &failure{at: len(w.did) - 1, last: true, kind: fault.Unavailable}
		}
	}
	if _, err := egress.RemovePolicies(t.Context(), []string{"closed"}); err == nil {
		t.Error("got no error")
	}

	w.onAny = nil
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	w.Policies.Restore()
	w.repair(t)
	if w.rules != nil || !slices.Equal(w.dnsRules, []string{"all"}) {
		t.Errorf("got rules %q in natagent, %q in dnsagent", w.rules, w.dnsRules)
	}
}
