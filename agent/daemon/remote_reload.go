package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// reloadPatience is how long another process of the host may take to reload.
const reloadPatience = 10 * time.Second

// remoteReload are the services that other processes carry, while they are asked to reload. Nil are none.
type remoteReload struct {
	names   []string // of those that have answered so far
	peers   *peers
	request *agentv1.ReloadConfigRequest

	unreachable []string // that do not answer
	answers     []*agentv1.ReloadConfigResponse
}

// check asks whether all would take what is written. Those that do not answer are left out from then on, as they will read it when they are
// there again.
func (o *remoteReload) check(ctx context.Context) error {
	if o == nil {
		return nil
	}
	_, err := o.callAll(ctx, &agentv1.ReloadConfigRequest{DryRun: true, Renumber: o.request.GetRenumber()})
	return err
}

// apply has all take what is written, or none.
func (o *remoteReload) apply(ctx context.Context) error {
	if o == nil {
		return nil
	}
	o.answers = nil
	taken, err := o.callAll(ctx, &agentv1.ReloadConfigRequest{Renumber: o.request.GetRenumber()})
	if err == nil {
		return nil
	}
	back := remoteReload{names: taken, peers: o.peers}
	_, berr := back.callAll(context.WithoutCancel(ctx), &agentv1.ReloadConfigRequest{Revert: true, Renumber: o.request.GetRenumber()})
	return errors.Join(err, berr, back.unreachableErrors("does not answer, and may have taken what another has refused"))
}

// callAll sends the same to all, and answers who has done it.
func (o *remoteReload) callAll(ctx context.Context, req *agentv1.ReloadConfigRequest) (done []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	var all sync.WaitGroup
	var adding sync.Mutex
	for _, name := range o.names {
		all.Go(func() {
			theirs, aerr := agentv1.NewConfigServiceClient(o.peers.conn(name)).ReloadConfig(ctx, req)
			adding.Lock()
			defer adding.Unlock()
			switch {
			case aerr == nil:
				done, o.answers = append(done, name), append(o.answers, theirs)
			case errors.Is(aerr, context.DeadlineExceeded):
				o.unreachable = append(o.unreachable, name)
			default:
				err = errors.Join(err, aerr)
			}
		})
	}
	all.Wait()
	o.names = slices.DeleteFunc(slices.Clone(o.names), func(name string) bool { return slices.Contains(o.unreachable, name) })
	return done, err
}

// unreachableErrors is an error for each that does not answer.
func (o *remoteReload) unreachableErrors(text string) error {
	var errs []error
	for _, name := range o.unreachable {
		errs = append(errs, fmt.Errorf("service %s %s; restart it", name, text))
	}
	return errors.Join(errs...)
}

// report adds what others have said, each thing once: processes that were started with different flags may have different changes of a key.
func (o *remoteReload) report(res *agentv1.ReloadConfigResponse) {
	if o == nil {
		return
	}
	slices.Sort(o.unreachable)
	for _, name := range o.unreachable {
		res.Warnings = append(res.Warnings, fmt.Sprintf("service %s has not read the configuration again: it does not answer", name))
	}
	for _, more := range o.answers {
		for _, c := range more.GetChanges() {
			if !slices.ContainsFunc(res.Changes, func(have *agentv1.Change) bool { return proto.Equal(have, c) }) {
				res.Changes = append(res.Changes, c)
			}
		}
		for _, w := range more.GetWarnings() {
			if !slices.Contains(res.Warnings, w) {
				res.Warnings = append(res.Warnings, w)
			}
		}
	}
}
