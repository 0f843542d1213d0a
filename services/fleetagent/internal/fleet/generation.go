package fleet

import (
	"context"
	"math/rand/v2"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fence"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
)

// How often a manager asks other hosts for the generation of the store, and how many at most.
const (
	askEvery = 30 * time.Second
	askTime  = 3 * time.Second
	maxAsked = 16 // besides all managers
)

// askGenerations asks other hosts for the generation of the store that they know.
func (r roles) askGenerations(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	hosts, _ := r.list()
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	targets, members := map[string]*fleetv1.Host{}, 0
	var ids []string
	for _, h := range hosts {
		if h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER {
			members++
		}
		if h.GetId() != r.membership().Host && members <= maxAsked {
			targets[h.GetId()] = h
			ids = append(ids, h.GetId())
		}
	}

	before := r.fence.Known()
	r.fence.Ask(ctx, ids, func(ctx context.Context, id string) (uint64, error) {
		manager, err := api.DialManager(agentAddress(targets[id]), r.clientTLS(id, ""))
		if err != nil {
			return 0, err
		}
		defer manager.Close()
		probed, err := manager.Probe(ctx, nil)
		return probed.Generation, err
	})
	if r.fence.Known() != before {
		r.saveGeneration()
	}
}

// saveGeneration stores the generation for the next start.
func (r roles) saveGeneration() {
	err := r.edit(func(m *membership.Membership) { m.Generation = max(m.Generation, r.fence.Known()) })
	if err != nil {
		r.cfg.Log.Error("generation of the store not saved", "error", err)
	}
}

// startGeneration makes the database of this host that of the next generation, which the caller stores.
func (r roles) startGeneration() (uint64, error) {
	next := fence.Next(r.fence.Known(), r.cfg.Now())
	err := r.edit(func(m *membership.Membership) { m.Generation, m.StoreGeneration = next, next })
	return next, err
}

// raise starts a generation with the store of a client.
func (r roles) raise(ctx context.Context, client *etcd.Client) error {
	value, ok, err := client.Get(ctx, r.keys.Settings())
	if err != nil || !ok {
		return err
	}
	next, err := r.startGeneration()
	if err != nil {
		return err
	}
	data, err := fence.With(value.Key, value.Data, next)
	if err != nil {
		return err
	}
	_, err = client.Commit(ctx, nil, etcd.Put(value.Key, data))
	return err
}
