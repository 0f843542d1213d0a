package follow

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// maxApplies bounds the containers whose rules change concurrently. natagent writes those that wait together.
const maxApplies = 128

// Change stores a change of policies and puts it in force for running containers. It returns their
// number. What cannot be put in force now follows later, and is returned as an error.
func (r Egress) Change(ctx context.Context, c policies.Change) (changed int, err error) {
	if _, err := r.Policies.Store(c, false); err != nil {
		return 0, err
	}

	outdated := r.Policies.Outdated()
	var all errgroup.Group
	all.SetLimit(maxApplies)
	errs := make([]error, len(outdated))
	for i, uid := range outdated {
		all.Go(func() error {
			errs[i] = r.reapply(context.WithoutCancel(ctx), uid)
			return nil
		})
	}
	_ = all.Wait()
	if err := errors.Join(errs...); err != nil {
		r.RequestSync()
		return len(outdated), err
	}
	return len(outdated), nil
}

// Applied is the result of ApplyPolicies.
type Applied struct {
	Results  []policies.Result // of the tests
	Changed  int               // number of containers whose rules changed
	Warnings []string          // about the policies, one line each
}

// ApplyPolicies stores policies and puts them in force, or with dryRun only tests them. Without any, it
// tests those that are stored. If a test fails, nothing changes.
func (r Egress) ApplyPolicies(ctx context.Context, put []*policy.Policy, dryRun bool) (applied Applied,
	err error) {
	all, err := r.Policies.Store(policies.Change{Put: put}, true)
	if err != nil {
		return Applied{}, err
	}
	tested := put
	if len(put) == 0 {
		tested = all
	}
	applied.Results = r.Policies.Test(ctx, tested, all)
	applied.Warnings = r.Policies.AdviceFor(ctx, put)
	if !dryRun && !slices.ContainsFunc(applied.Results, policies.Result.Failed) {
		applied.Changed, err = r.Change(ctx, policies.Change{Put: put})
	}
	return applied, err
}

// RemovePolicies removes policies and lifts their rules.
func (r Egress) RemovePolicies(ctx context.Context, names []string) (changed int, err error) {
	return r.Change(ctx, policies.Change{Remove: names})
}

// ListPolicies returns all policies, sorted by name, and the running containers that each selects.
func (r Egress) ListPolicies() (all []*policy.Policy, selected [][]string) {
	all = r.Policies.List()
	for _, p := range all {
		selected = append(selected, r.Policies.Selected(p))
	}
	return all, selected
}

// ExplainPolicy returns the sources of the rules of a container, and the decisions about a peer.
func (r Egress) ExplainPolicy(ctx context.Context, ref, peer string, incoming bool) ([]policy.Source,
	[]policy.Decision, error) {
	return r.Policies.Explain(ctx, ref, peer, incoming)
}
