package fleetnames

import (
	"context"
	"maps"
	"slices"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Limits of one publication.
const (
	maxOwners   = 500
	publishTime = 5 * time.Second
)

// publish publishes what has changed. What fails is repeated.
func (x *Exchange) publish(ctx context.Context) {
	for x.wake.Wait(ctx, 0) == nil {
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
			err := x.publishOnce(ctx)
			if err == nil {
				break
			}
			x.Log.DebugContext(ctx, "names not published yet", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// publishOnce publishes the changed registrations, or all.
func (x *Exchange) publishOnce(ctx context.Context) error {
	for {
		owners, all := x.take()
		if len(owners) == 0 && !all {
			return nil
		}
		r, networks := x.request(owners)
		r.All = all
		limited, cancel := context.WithTimeout(ctx, publishTime)
		_, err := x.Client.PublishEndpoints(limited, r)
		cancel()
		x.done(owners, all, networks, err)
		if err != nil {
			return err
		}
	}
}

// take returns the owners to publish, and whether they are all.
func (x *Exchange) take() (owners []string, all bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.inFleet {
		return nil, false
	}
	if x.all {
		x.all, x.dirty = false, map[string]bool{}
		return x.Store.Owners(), true
	}
	for o := range x.dirty {
		if len(owners) == maxOwners {
			break
		}
		owners = append(owners, o)
		delete(x.dirty, o)
	}
	return owners, false
}

// request returns the publication of owners, and the networks on which each is published.
func (x *Exchange) request(owners []string) (*fleetv1.PublishEndpointsRequest, map[string]map[string]bool) {
	x.mu.Lock()
	networks, published := maps.Clone(x.networks), maps.Clone(x.published)
	x.mu.Unlock()
	r := &fleetv1.PublishEndpointsRequest{}
	now := map[string]map[string]bool{}
	for _, o := range owners {
		now[o] = map[string]bool{}
		registered, _ := x.Store.Registered(o)
		for _, n := range registered.Networks {
			if !networks[n.ID] || now[o][n.ID] {
				continue
			}
			now[o][n.ID] = true
			e := &fleetv1.OverlayEndpoint{NetworkId: n.ID, Owner: o, NetworkName: n.Name, Names: n.Names,
				Labels: n.Labels}
			for _, a := range n.Addresses {
				e.Addresses = append(e.Addresses, a.String())
			}
			r.Endpoints = append(r.Endpoints, e)
		}
		for _, id := range slices.Sorted(maps.Keys(published[o])) {
			if !now[o][id] {
				r.Removed = append(r.Removed, &fleetv1.EndpointKey{NetworkId: id, Owner: o})
			}
		}
	}
	return r, now
}

// done notes the result of a publication. After an error the owners are published again.
func (x *Exchange) done(owners []string, all bool, networks map[string]map[string]bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.inFleet {
		return
	}
	if err != nil {
		x.all = x.all || all
		for _, o := range owners {
			x.dirty[o] = true
		}
		return
	}
	if all {
		x.published = map[string]map[string]bool{}
	}
	for o, on := range networks {
		if x.published[o] = on; len(on) == 0 {
			delete(x.published, o)
		}
	}
}
