package follow

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
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
func (r *Follower) RunNetworkSync(ctx context.Context) {
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
func (r *Follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	next, err := r.Agents.WatchSandboxes(ctx)
	if err != nil {
		return err
	}

	lost := make(chan error, 1)
	go func() {
		for {
			if err := next(); err != nil {
				lost <- err
				return
			}
			r.RequestSync()
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

// RequestSync makes the network sync run soon.
func (r *Follower) RequestSync() { r.wake.Notify() }

// syncUntilDone synchronizes until it succeeds, with growing delays.
func (r *Follower) syncUntilDone(ctx context.Context) {
	for last, wait := "", syncRetryMin; ; wait = min(2*wait, syncRetryMax) {
		err := r.SyncAll(ctx)
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
func (r *Follower) completeChanges(ctx context.Context) error {
	var errs []error
	for _, c := range r.Store.ListContainers() {
		if c.Change == nil {
			continue
		}
		_, unlock, err := r.FindAndLock(ctx, c.ID)
		if err == nil {
			unlock()
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			errs = append(errs, err)
		}
	}

	return errors.Join(errs...)
}

// SyncAll synchronizes each container whose endpoints or published ports differ from the store.
func (r *Follower) SyncAll(ctx context.Context) error {
	incomplete := r.completeChanges(ctx)
	all, err := r.Agents.Sandboxes(ctx)
	if err != nil {
		return err
	}

	gateways, err := r.Agents.HostGateways(ctx)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}

	published, err := r.Agents.Published(ctx)
	if err != nil {
		return err
	}

	errs := []error{incomplete, Egress{r}.resync(ctx)}
	for _, sb := range all {
		c, err := r.Store.GetContainer(sb.Owner)
		if err != nil || !hasOwnSandbox(c, sb) {
			continue
		}
		if republish := !SamePorts(c.Live.Bindings, published[c.ID]); republish || outOfDate(c, sb, gateways) {
			errs = append(errs, r.syncContainer(ctx, c.ID, gateways, republish))
		}
	}

	return errors.Join(errs...)
}

// SamePorts reports whether two lists of port bindings are equal.
func SamePorts(a, b []port.Binding) bool {
	return slices.Equal(a, b)
}

// hasOwnSandbox reports whether a running container owns a sandbox with endpoints.
func hasOwnSandbox(c *container.Container, sb agents.Sandbox) bool {
	return c.IsRunning() && c.Live.SharedWith == "" && !sb.NamespaceOnly
}

// outOfDate reports whether the stored endpoints of c differ from sb, or sb is to be renumbered.
func outOfDate(c *container.Container, sb agents.Sandbox, gateways []string) bool {
	return sb.RenumberPending || !reflect.DeepEqual(c.Live.Endpoints, sb.Endpoints) ||
		agents.UsesHostGateway(&c.Config.DNS) && len(gateways) > 0 && !slices.Equal(c.Live.HostGateways, gateways)
}

// syncContainer synchronizes one container. It adds new addresses, updates names and ports, and
// then removes former addresses. With republish the port bindings of natagent differ from the
// store, as after a crash between the two.
func (r *Follower) syncContainer(ctx context.Context, uid string, gateways []string, republish bool) error {
	c, unlock, err := r.FindAndLock(ctx, uid)
	if err != nil {
		return err
	}

	defer unlock()

	ctx, cancel := agents.WithTimeout(context.WithoutCancel(ctx)) // it must not stop halfway
	defer cancel()

	sb, err := r.Agents.Sandbox(ctx, uid)
	if fault.Is(err, fault.NotFound) {
		return nil // it is exiting
	}

	if err != nil {
		return err
	}

	if !hasOwnSandbox(c, sb) || !republish && !outOfDate(c, sb, gateways) {
		return nil
	}

	if sb.RenumberPending {
		if sb, err = r.Agents.RenumberSandbox(ctx, uid); err != nil {
			return err
		}
	}

	if republish {
		r.logFor(c.ID).Info("port bindings differ, publishing again", "name", c.Config.Name)
	}

	if err := r.updateNamesAndPorts(ctx, c, sb, gateways); err != nil || !sb.RenumberPending {
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
func (r *Follower) drain(ctx context.Context, sb agents.Sandbox) error {
	if len(sb.Former) == 0 {
		return nil
	}
	if err := r.Agents.DrainConnections(ctx, sb.Former, drainTimeout); err != nil {
		return err
	}
	return r.Agents.DeleteConntrack(ctx, sb.Former)
}

// updateNamesAndPorts updates names and ports to the current endpoints of a sandbox, and stores
// them.
func (r *Follower) updateNamesAndPorts(ctx context.Context, c *container.Container, sb agents.Sandbox,
	gateways []string) error {
	live := *c.Live
	live.Endpoints = sb.Endpoints
	if agents.UsesHostGateway(&c.Config.DNS) && len(gateways) > 0 {
		live.HostGateways = gateways
	}

	err := Egress{r}.enforce(ctx, c, &live)
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
func (r *Follower) republishPorts(ctx context.Context, c *container.Container,
	now *container.RunState) ([]port.Binding, error) {
	mappings := c.Republished()
	if len(mappings)+len(c.Config.Network.Addresses) == 0 {
		return c.Live.Bindings, nil
	}
	return r.publishMappings(ctx, c, now, mappings, true)
}

// completeRenumbering removes the former addresses of a sandbox and their conntrack entries.
func (r *Follower) completeRenumbering(ctx context.Context, c *container.Container, sb agents.Sandbox) error {
	removed, err := r.Agents.CompleteRenumbering(ctx, c.ID)
	if err != nil {
		return err
	}

	var now []string
	for _, e := range sb.Endpoints {
		now = append(now, e.Addresses()...)
	}

	r.logFor(c.ID).Info("renumbered", "name", c.Config.Name, "addresses", now, "former", removed)
	if len(removed) == 0 {
		return nil
	}

	return r.Agents.DeleteConntrack(ctx, removed)
}
