package reconcile

import (
	"context"
	"reflect"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// Predefine stores the networks that the configuration says are always there. Their ids are made once and stay. A network whose
// subnet or bridge has changed keeps the old ones while sandboxes are on it, and so does the default bridge if there is to be none.
func (r *Reconciler) Predefine(settings network.Settings) error {
	host := r.named(network.NameHost)
	var changed []store.Network
	for _, want := range settings.WithIPv6(host.ID).Predefined() {
		have := host
		if want.Name != network.NameHost {
			have = r.named(want.Name)
		}
		want, err := r.settle(have.Network, want)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(have.Network, want) {
			have.Network = want
			changed = append(changed, have)
		}
	}
	if len(changed) > 0 {
		if err := r.store.PutNetworks(changed...); err != nil {
			return err
		}
	}
	if settings.NoBridge {
		return r.dropBridge()
	}
	return nil
}

// named answers the network with that name; if there is none, one that has an id and nothing else.
func (r *Reconciler) named(name string) store.Network {
	if have, ok := r.store.NetworkNamed(name); ok {
		return have
	}
	return store.Network{Network: network.Network{ID: id.New(), CreatedAt: time.Now().UTC()}}
}

// settle makes of the wanted network what can be had now.
func (r *Reconciler) settle(have, want network.Network) (network.Network, error) {
	want.ID, want.CreatedAt, want.ForeignBridge = have.ID, have.CreatedAt, have.ForeignBridge
	if moved(have, want) && len(r.store.SandboxesOn(have.ID)) > 0 {
		r.log.Warn("network keeps its subnet and bridge while containers are on it; stop them and start again",
			"network", have.Name, "bridge", have.Bridge, "pools", have.Pools, "configured_bridge", want.Bridge, "configured_pools", want.Pools)
		want.Pools, want.Bridge = have.Pools, have.Bridge
	}
	if want.Bridge != have.Bridge {
		_, there, err := r.host.Link(want.Bridge)
		if err != nil {
			return want, fault.Wrap(err, fault.Internal, want.Subject(), "cannot look for its bridge")
		}
		want.ForeignBridge = there // what others have made stays when the network goes
	}
	want.InhibitIPv4 = want.InhibitIPv4 && want.ForeignBridge // on a bridge of our own we look after the address
	return want, nil
}

func moved(have, want network.Network) bool {
	return have.Bridge != want.Bridge || !reflect.DeepEqual(have.Pools, want.Pools)
}

// dropBridge begins to delete the default network. Who finishes that is package networks.
func (r *Reconciler) dropBridge() error {
	have, ok := r.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}
	on, err := r.store.CloseNetwork(have.ID, true)
	if len(on) > 0 {
		r.log.Warn("network stays while containers are on it; stop them and start again", "network", have.Name, "bridge", have.Bridge)
	}
	return err
}

// Renew is Predefine for a host on which everything runs: what has changed is applied at once.
func (r *Reconciler) Renew(settings network.Settings) error {
	if err := r.Predefine(settings); err != nil {
		return err
	}
	return r.again(context.Background())
}
