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

// followAgain is how long to wait before networks are followed again when that has failed, and slowestFollow how long at most when it
// fails again and again.
const (
	followAgain   = 250 * time.Millisecond
	slowestFollow = 8 * time.Second

	// followEvery is the slow tick on which everything is compared though nothing tells of a change.
	followEvery = 10 * time.Second
)

// drainTime is how long a container that has moved still answers at its old addresses for connections that are open there. A first packet
// that is lost is sent again after one second.
const drainTime = 3 * time.Second

// RunNetworkSync has running containers follow their networks until ctx ends: when one is renumbered, or gets IPv6 or other name servers,
// their addresses, names and ports go along, one container at a time. What netagent says is compared with what is stored here, so
// whatever came in between, and whoever ended in the middle of it, each container gets there.
func (r *Runner) RunNetworkSync(ctx context.Context) {
	for last := ""; ctx.Err() == nil; {
		err := r.watch(ctx)
		if ctx.Err() == nil && err.Error() != last && !fault.Is(err, fault.Unavailable) {
			last = err.Error()
			r.Log.Warn("networks cannot be followed; trying again", "error", err)
		}
		pause(ctx, followAgain)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watch catches up whenever netagent says so, when a change was left incomplete, and on a slow tick: natagent or this service may have
// been restored to an earlier state, and nothing tells of that.
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
			r.hurry()
		}
	}()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-lost:
			return err
		case <-tick.C:
		case <-r.wake:
		}
		r.catchUpAgain(ctx)
	}
}

// hurry makes Follow catch up soon.
func (r *Runner) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// catchUpAgain catches up until that succeeds, more and more slowly.
func (r *Runner) catchUpAgain(ctx context.Context) {
	for last, wait := "", followAgain; ; wait = min(2*wait, slowestFollow) {
		err := r.syncAll(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if err.Error() != last {
			last = err.Error()
			r.Log.Warn("a container does not follow its networks; trying again", "error", err)
		}
		pause(ctx, wait)
	}
}

// completeAll completes the changes of networks that were interrupted.
func (r *Runner) completeAll(ctx context.Context) error {
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

// syncAll has each container follow that is not where its networks are, or whose ports are not published as is stored of them.
func (r *Runner) syncAll(ctx context.Context) error {
	incomplete := r.completeAll(ctx)
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
		if misled := !samePorts(c.Live.Bindings, published[c.ID]); misled || outOfDate(c, sb, gateways) {
			errs = append(errs, r.syncContainer(ctx, c.ID, gateways, misled))
		}
	}
	return errors.Join(errs...)
}

// published answers what natagent publishes, by owner.
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

// hasOwnSandbox tells whether a container has a sandbox of its own that is plugged in.
func hasOwnSandbox(c *container.Container, sb *networkv1.Sandbox) bool {
	return c.IsRunning() && c.Live.SharedWith == "" && !sb.GetNetnsOnly()
}

// outOfDate tells whether a running container is known, or published, otherwise than its sandbox is or shall be.
func outOfDate(c *container.Container, sb *networkv1.Sandbox, gateways []string) bool {
	return sb.GetRenumberPending() || !reflect.DeepEqual(c.Live.Endpoints, protoconv.Endpoints(sb.GetEndpoints())) ||
		namesHost(c) && len(gateways) > 0 && !slices.Equal(c.Live.HostGateways, gateways)
}

// namesHost tells whether the container's hosts file has a name for the host.
func namesHost(c *container.Container) bool {
	return slices.ContainsFunc(c.Config.DNS.ExtraHosts, func(h string) bool { return strings.HasSuffix(h, ":"+hostGateway) })
}

// syncContainer has one container follow: it gets its new addresses beside those that it has, names and ports are led to them, and only then
// the old ones go. With misled, its ports are not published as is stored, as after a crash that came between the two.
func (r *Runner) syncContainer(ctx context.Context, uid string, gateways []string, misled bool) error {
	c, unlock, err := r.findAndLock(ctx, uid)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := withCallTimeout(context.WithoutCancel(ctx)) // half of it would have to be mended
	defer cancel()
	got, err := r.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: uid})
	if fault.Is(err, fault.NotFound) {
		return nil // it is just ending
	}
	if err != nil {
		return err
	}
	sb := got.GetSandbox()
	if !hasOwnSandbox(c, sb) || !misled && !outOfDate(c, sb, gateways) {
		return nil
	}
	if sb.GetRenumberPending() {
		renewed, err := r.Sandboxes.RenumberSandbox(ctx, &networkv1.RenumberSandboxRequest{Owner: uid})
		if err != nil {
			return err
		}
		sb = renewed.GetSandbox()
	}
	if misled {
		r.logFor(c.ID).Info("publishes again what is stored of its ports", "name", c.Config.Name)
	}
	if err := r.moveNamesAndPorts(ctx, c, sb, gateways); err != nil || !sb.GetRenumberPending() {
		return err
	}
	if err := r.drain(ctx, sb); err != nil {
		return err
	}
	return r.completeRenumbering(ctx, c, sb)
}

// drain lets the connections end that use addresses which a sandbox is about to lose. Those that take longer are cut, now, since a crash
// may come between giving the addresses up and cutting what has come there in the meantime.
func (r *Runner) drain(ctx context.Context, sb *networkv1.Sandbox) error {
	var former []string
	for _, e := range sb.GetEndpoints() {
		former = append(former, e.GetFormerAddresses()...)
	}
	if len(former) == 0 {
		return nil
	}
	_, err := r.Publications.DrainConnections(ctx, &natv1.DrainConnectionsRequest{Addresses: former, TimeoutMs: uint32(drainTime.Milliseconds())})
	if err == nil {
		_, err = r.Publications.DeleteConntrack(ctx, &natv1.DeleteConntrackRequest{Addresses: former})
	}
	return err
}

// moveNamesAndPorts leads names and ports to where a sandbox is now, and stores that.
func (r *Runner) moveNamesAndPorts(ctx context.Context, c *container.Container, sb *networkv1.Sandbox, gateways []string) error {
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
			moved := *c
			moved.Live = &live
			return &moved
		})
	}
	return err
}

// republishPorts leads published ports to where a container is now, whatever is stored of where they lead: a crash may have come between
// leading them and storing it. Open connections stay, as the container still answers where it was.
func (r *Runner) republishPorts(ctx context.Context, c *container.Container, now *container.RunState) ([]container.Binding, error) {
	mappings := c.Republished()
	if len(mappings)+len(c.Config.Network.Addresses) == 0 {
		return c.Live.Bindings, nil
	}
	return r.publishMappings(ctx, c, now, mappings, true)
}

// completeRenumbering gives up what a sandbox had before, and ends the connections there.
func (r *Runner) completeRenumbering(ctx context.Context, c *container.Container, sb *networkv1.Sandbox) error {
	settled, err := r.Sandboxes.CompleteRenumbering(ctx, &networkv1.CompleteRenumberingRequest{Owner: c.ID})
	if err != nil {
		return err
	}
	var now []string
	for _, e := range protoconv.Endpoints(sb.GetEndpoints()) {
		now = append(now, addresses(e)...)
	}
	r.logFor(c.ID).Info("has followed its networks", "name", c.Config.Name, "addresses", now, "before", settled.GetRemovedAddresses())
	if len(settled.GetRemovedAddresses()) == 0 {
		return nil
	}
	_, err = r.Publications.DeleteConntrack(ctx, &natv1.DeleteConntrackRequest{Addresses: settled.GetRemovedAddresses()})
	return err
}
