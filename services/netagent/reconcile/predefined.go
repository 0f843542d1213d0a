package reconcile

import (
	"reflect"
	"time"

	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// Predefine stores the networks that the configuration says are always there. Their ids are made once and stay. A network whose
// subnet or bridge has changed keeps the old ones while sandboxes are on it.
func (r *Reconciler) Predefine(settings network.Settings) error {
	var changed []store.Network
	for _, want := range settings.Predefined() {
		have, ok := r.store.NetworkNamed(want.Name)
		if !ok {
			want.ID, want.CreatedAt = id.New(), time.Now().UTC()
			changed = append(changed, store.Network{Network: want})
			continue
		}
		want.ID, want.CreatedAt = have.ID, have.CreatedAt
		if moved(have.Network, want) && len(r.store.SandboxesOn(have.ID)) > 0 {
			r.log.Warn("network keeps its subnet and bridge while containers are on it; stop them and start again",
				"network", have.Name, "bridge", have.Bridge, "pools", have.Pools, "configured_bridge", want.Bridge, "configured_pools", want.Pools)
			want.Pools, want.Bridge = have.Pools, have.Bridge
		}
		if !reflect.DeepEqual(have.Network, want) {
			have.Network = want
			changed = append(changed, have)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return r.store.PutNetworks(changed...)
}

func moved(have, want network.Network) bool {
	return have.Bridge != want.Bridge || !reflect.DeepEqual(have.Pools, want.Pools)
}
