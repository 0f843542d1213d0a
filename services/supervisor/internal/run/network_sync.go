package run

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// Retry delays and resync interval of the network sync.
const (
	syncRetryMin = 250 * time.Millisecond
	syncRetryMax = 8 * time.Second

	// resyncInterval is the interval of the comparison without a notification.
	resyncInterval = 10 * time.Second
)

// drainTimeout bounds how long a renumbered container keeps its former addresses.
// Connections that are still open are then ended. A lost SYN is retransmitted after one second.
const drainTimeout = 3 * time.Second

// RunNetworkSync synchronizes running containers with their networks until ctx is done.
// When a network is renumbered, or its IPv6 or name servers change, it updates addresses, names and
// ports, one container at a time. It compares netagent's sandboxes with the store, so it also
// completes interrupted updates.
func (r *Runner) RunNetworkSync(ctx context.Context) {
	for last := ""; ctx.Err() == nil; {
		err := r.watch(ctx)
		if ctx.Err() == nil && err.Error() != last && !fault.Is(err, fault.Unavailable) {
			last = err.Error()
			r.Log.Warn("network watch failed, retrying", "error", err)
		}
		pause(ctx, syncRetryMin)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watch synchronizes after each notification of netagent, after an incomplete change, and on each
// resync. The resync covers a service that was restored to an earlier state, for which no
// notification exists.
func (r *Runner) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	changes, err := r.Sandboxes.WatchSandboxes(ctx, &networkv1.WatchSandboxesRequest{})
	if err != nil {
		return err
	}

	lost := make(chan error, 1)
	go func() {
		for {
			if _, err := changes.Recv(); err != nil {
				lost <- err
				return
			}
			r.requestSync()
		}
	}()

	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()

	for {
		select {
		case err := <-lost:
			return err
		case <-tick.C:
		case <-r.wake:
		}
		r.syncUntilDone(ctx)
	}
}

// requestSync makes the network sync run soon.
func (r *Runner) requestSync() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// syncUntilDone synchronizes until it succeeds, with growing delays.
func (r *Runner) syncUntilDone(ctx context.Context) {
	for last, wait := "", syncRetryMin; ; wait = min(2*wait, syncRetryMax) {
		err := r.syncAll(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if err.Error() != last {
			last = err.Error()
			r.Log.Warn("network sync failed, retrying", "error", err)
		}
		pause(ctx, wait)
	}
}

// completeChanges completes the interrupted changes of containers.
func (r *Runner) completeChanges(ctx context.Context) error {
	var errs []error
	for _, c := range r.Store.ListContainers() {
		if c.Change == nil {
			continue
		}
		_, unlock, err := r.findAndLock(ctx, c.ID)
		if err == nil {
			unlock()
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			errs = append(errs, err)
		}
	}

	return errors.Join(errs...)
}

// syncAll synchronizes each container whose endpoints or published ports differ from the store.
func (r *Runner) syncAll(ctx context.Context) error {
	incomplete := r.completeChanges(ctx)
	all, err := r.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	if err != nil {
		return err
	}

	gateways, err := r.hostGateways(ctx)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}

	published, err := r.published(ctx)
	if err != nil {
		return err
	}

	errs := []error{incomplete}
	for _, sb := range all.GetSandboxes() {
		c, err := r.Store.GetContainer(sb.GetOwner())
		if err != nil || !hasOwnSandbox(c, sb) {
			continue
		}
		if republish := !samePorts(c.Live.Bindings, published[c.ID]); republish || outOfDate(c, sb, gateways) {
			errs = append(errs, r.syncContainer(ctx, c.ID, gateways, republish))
		}
	}

	return errors.Join(errs...)
}

// published returns the port bindings of natagent, by owner.
func (r *Runner) published(ctx context.Context) (map[string][]container.Binding, error) {
	resp, err := r.Publications.ListPublications(ctx, &natv1.ListPublicationsRequest{})
	out := map[string][]container.Binding{}
	for _, p := range resp.GetPublications() {
		out[p.GetOwner()] = protoconv.Bindings(p.GetBindings())
	}
	return out, err
}

func samePorts(a, b []container.Binding) bool {
	return slices.EqualFunc(a, b, func(x, y container.Binding) bool { return reflect.DeepEqual(x, y) })
}

// hasOwnSandbox reports whether a running container owns a sandbox with endpoints.
func hasOwnSandbox(c *container.Container, sb *networkv1.Sandbox) bool {
	return c.IsRunning() && c.Live.SharedWith == "" && !sb.GetNetnsOnly()
}

// outOfDate reports whether the stored endpoints of c differ from sb, or sb is to be renumbered.
func outOfDate(c *container.Container, sb *networkv1.Sandbox, gateways []string) bool {
	return sb.GetRenumberPending() || !reflect.DeepEqual(c.Live.Endpoints, protoconv.Endpoints(sb.GetEndpoints())) ||
		namesHost(c) && len(gateways) > 0 && !slices.Equal(c.Live.HostGateways, gateways)
}

// namesHost reports whether the container uses host-gateway.
func namesHost(c *container.Container) bool {
	return slices.ContainsFunc(c.Config.DNS.ExtraHosts,
		func(h string) bool { return strings.HasSuffix(h, ":"+hostGateway) })
}

// syncContainer synchronizes one container. It adds new addresses, updates names and ports, and
// then removes former addresses. With republish the port bindings of natagent differ from the
// store, as after a crash between the two.
func (r *Runner) syncContainer(ctx context.Context, uid string, gateways []string, republish bool) error {
	c, unlock, err := r.findAndLock(ctx, uid)
	if err != nil {
		return err
	}

	defer unlock()

	ctx, cancel := withCallTimeout(context.WithoutCancel(ctx)) // it must not stop halfway
	defer cancel()

	got, err := r.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: uid})
	if fault.Is(err, fault.NotFound) {
		return nil // it is exiting
	}

	if err != nil {
		return err
	}

	sb := got.GetSandbox()
	if !hasOwnSandbox(c, sb) || !republish && !outOfDate(c, sb, gateways) {
		return nil
	}

	if sb.GetRenumberPending() {
		resp, err := r.Sandboxes.RenumberSandbox(ctx, &networkv1.RenumberSandboxRequest{Owner: uid})
		if err != nil {
			return err
		}
		sb = resp.GetSandbox()
	}

	if republish {
		r.logFor(c.ID).Info("port bindings differ, publishing again", "name", c.Config.Name)
	}

	if err := r.updateNamesAndPorts(ctx, c, sb, gateways); err != nil || !sb.GetRenumberPending() {
		return err
	}

	if err := r.drain(ctx, sb); err != nil {
		return err
	}

	return r.completeRenumbering(ctx, c, sb)
}

// drain waits for connections of former addresses to end, and deletes the remaining conntrack
// entries. It deletes them before the addresses are released, since a crash in between must not
// redirect them to a new owner.
func (r *Runner) drain(ctx context.Context, sb *networkv1.Sandbox) error {
	var former []string
	for _, e := range sb.GetEndpoints() {
		former = append(former, e.GetFormerAddresses()...)
	}

	if len(former) == 0 {
		return nil
	}

	_, err := r.Publications.DrainConnections(ctx,
		&natv1.DrainConnectionsRequest{Addresses: former, TimeoutMs: uint32(drainTimeout.Milliseconds())})
	if err == nil {
		_, err = r.Publications.DeleteConntrack(ctx, &natv1.DeleteConntrackRequest{Addresses: former})
	}

	return err
}

// updateNamesAndPorts updates names and ports to the current endpoints of a sandbox, and stores
// them.
func (r *Runner) updateNamesAndPorts(ctx context.Context, c *container.Container, sb *networkv1.Sandbox,
	gateways []string) error {
	live := *c.Live
	live.Endpoints = protoconv.Endpoints(sb.GetEndpoints())
	if namesHost(c) && len(gateways) > 0 {
		live.HostGateways = gateways
	}

	err := r.updateNames(ctx, c, &live)
	if err == nil {
		live.Bindings, err = r.republishPorts(ctx, c, &live)
	}

	if err == nil {
		_, err = r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
			updated := *c
			updated.Live = &live
			return &updated
		})
	}

	return err
}

// republishPorts publishes ports at the current addresses of a container, whatever bindings are
// stored. Open connections are kept, as the container still has its former addresses.
func (r *Runner) republishPorts(ctx context.Context, c *container.Container,
	now *container.RunState) ([]container.Binding, error) {
	mappings := c.Republished()
	if len(mappings)+len(c.Config.Network.Addresses) == 0 {
		return c.Live.Bindings, nil
	}
	return r.publishMappings(ctx, c, now, mappings, true)
}

// completeRenumbering removes the former addresses of a sandbox and their conntrack entries.
func (r *Runner) completeRenumbering(ctx context.Context, c *container.Container, sb *networkv1.Sandbox) error {
	resp, err := r.Sandboxes.CompleteRenumbering(ctx, &networkv1.CompleteRenumberingRequest{Owner: c.ID})
	if err != nil {
		return err
	}

	var now []string
	for _, e := range protoconv.Endpoints(sb.GetEndpoints()) {
		now = append(now, addresses(e)...)
	}

	r.logFor(c.ID).Info("renumbered", "name", c.Config.Name, "addresses", now, "former", resp.GetRemovedAddresses())
	if len(resp.GetRemovedAddresses()) == 0 {
		return nil
	}

	_, err = r.Publications.DeleteConntrack(ctx, &natv1.DeleteConntrackRequest{Addresses: resp.GetRemovedAddresses()})
	return err
}
