package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// reloadTimeout is the time limit of a reload in another process.
const reloadTimeout = 10 * time.Second

// remoteReload reloads the services that run in other processes. Nil means none.
type remoteReload struct {
	names   []string // that have responded so far
	peers   *route.Table
	request *agentv1.ReloadConfigRequest

	unreachable []string // that do not respond
	responses   []*agentv1.ReloadConfigResponse
}

// check asks whether all services would accept the configuration. Services that do not respond are
// skipped from then on; they read the configuration when they start.
func (o *remoteReload) check(ctx context.Context) error {
	if o == nil {
		return nil
	}
	_, err := o.callAll(ctx, &agentv1.ReloadConfigRequest{DryRun: true, Renumber: o.request.GetRenumber()})
	return err
}

// apply reloads all services, or reverts those that accepted if one fails.
func (o *remoteReload) apply(ctx context.Context) error {
	if o == nil {
		return nil
	}
	o.responses = nil
	taken, err := o.callAll(ctx, &agentv1.ReloadConfigRequest{Renumber: o.request.GetRenumber()})
	if err == nil {
		return nil
	}
	back := remoteReload{names: taken, peers: o.peers}
	_, berr := back.callAll(context.WithoutCancel(ctx),
		&agentv1.ReloadConfigRequest{Revert: true, Renumber: o.request.GetRenumber()})
	return errors.Join(err, berr, back.unreachableErrors("is not responding and may have applied the rejected "+
		"configuration"))
}

// callAll sends a request to all services concurrently and returns those that succeeded.
func (o *remoteReload) callAll(ctx context.Context, req *agentv1.ReloadConfigRequest) (done []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	var all sync.WaitGroup
	var adding sync.Mutex
	for _, name := range o.names {
		all.Go(func() {
			response, aerr := agentv1.NewConfigServiceClient(o.peers.Conn(name)).ReloadConfig(ctx, req)
			adding.Lock()
			defer adding.Unlock()
			switch {
			case aerr == nil:
				done, o.responses = append(done, name), append(o.responses, response)
			case errors.Is(aerr, context.DeadlineExceeded) || fault.ReasonOf(aerr) == fault.ReasonUnreachable:
				o.unreachable = append(o.unreachable, name)
			default:
				err = errors.Join(err, aerr)
			}
		})
	}
	all.Wait()
	o.names = slices.DeleteFunc(slices.Clone(o.names),
		func(name string) bool { return slices.Contains(o.unreachable, name) })
	return done, err
}

// unreachableErrors returns an error for each service that does not respond.
func (o *remoteReload) unreachableErrors(text string) error {
	var errs []error
	for _, name := range o.unreachable {
		errs = append(errs, fmt.Errorf("service %s %s; restart it", name, text))
	}
	return errors.Join(errs...)
}

// report adds the changes and warnings of the other processes without duplicates. Processes started
// with different flags can have different changes of a key.
func (o *remoteReload) report(res *agentv1.ReloadConfigResponse) {
	if o == nil {
		return
	}
	slices.Sort(o.unreachable)
	for _, name := range o.unreachable {
		res.Warnings = append(res.Warnings, fmt.Sprintf("service %s is not responding and was not reloaded", name))
	}
	for _, more := range o.responses {
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
