package reconcile

import (
	"context"
	"reflect"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// StorePredefined stores the predefined networks of the configuration. Their IDs are created once.
//
// Sandboxes keep their addresses after a change of the subnet, unless they are to be renumbered.
// While sandboxes are connected, a network keeps its bridge and a subnet that overlaps the new one.
// The default bridge is not deleted while in use.
func (r *Reconciler) StorePredefined(settings network.BridgeSettings) error {
	host := r.named(network.NameHost)
	var changed []store.Network
	for _, want := range settings.WithIPv6(host.ID).Predefined() {
		have := host
		if want.Name != network.NameHost {
			have = r.named(want.Name)
		}
		want, err := r.mergePredefined(have.Network, want, settings.Renumber)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(have.Network, want) {
			if !reflect.DeepEqual(have.Spec.Pools, want.Spec.Pools) {
				want.Status = want.Status.Changed()
			}
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
		return r.deleteDefaultBridge()
	}

	return nil
}

// named returns the network with a name, or one with only a new ID if there is none.
func (r *Reconciler) named(name string) store.Network {
	if have, ok := r.store.NetworkNamed(name); ok {
		return have
	}
	return store.Network{Network: network.Network{ID: id.New(), CreatedAt: time.Now().UTC()}}
}

// mergePredefined returns the part of the wanted network that can be applied now.
func (r *Reconciler) mergePredefined(have, want network.Network, renumber bool) (network.Network, error) {
	want.ID, want.CreatedAt, want.Status = have.ID, have.CreatedAt, have.Status.WithoutFormer()
	if on := r.store.SandboxesOn(have.ID); len(on) > 0 {
		want = r.mergeInUse(have, want, on, renumber)
	}

	if want.Bridge().Device != have.Bridge().Device {
		_, exists, err := r.host.Link(want.Bridge().Device)
		if err != nil {
			return want, fault.Wrap(err, fault.Internal, want.Subject(), "cannot find its bridge")
		}
		want.Status.AdoptedBridge = exists // an adopted bridge outlives the network
	}

	if b := want.Spec.Bridge; b != nil { // Fairlead sets the address of its own bridges
		b.InhibitIPv4 = b.InhibitIPv4 && want.Status.AdoptedBridge
	}

	return want, nil
}

// mergeInUse returns the part of the wanted network that can be applied while sandboxes are
// connected.
func (r *Reconciler) mergeInUse(have, want network.Network, on []network.Sandbox, renumber bool) network.Network {
	names := make([]string, len(on))
	for i, sb := range on {
		names[i] = sb.DisplayName()
	}

	pools := want.Spec.Pools
	if want.Bridge().Device != have.Bridge().Device {
		pools = have.Spec.Pools
	}

	moved, err := have.WithPools(pools)
	if err != nil || want.Bridge().Device != have.Bridge().Device {
		r.log.Warn("network in use, keeping subnet and bridge",
			"network", have.Name, "containers", names,
			"bridge", have.Bridge().Device, "pools", have.Spec.Pools,
			"configured_bridge", want.Bridge().Device, "configured_pools", want.Spec.Pools, "error", err)
		moved = have
	}

	want.Spec.Bridge.Device, want.Spec.Pools = moved.Bridge().Device, moved.Spec.Pools
	want.Status = moved.Status
	want.Status.Renumbering = len(want.Status.Former) > 0 && (renumber || have.Status.Renumbering)
	if len(want.Status.Former) > 0 && !want.Status.Renumbering {
		r.log.Warn("network has former pools, restart its containers or reload with --renumber",
			"network", have.Name, "containers", names, "pools", want.Spec.Pools, "former_pools", want.Status.Former)
	}

	return want
}

// deleteDefaultBridge marks the default network for deletion. Package networks completes it.
func (r *Reconciler) deleteDefaultBridge() error {
	have, ok := r.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}
	on, err := r.store.MarkDeleting(have.ID, true)
	if len(on) > 0 {
		r.log.Warn("network in use, not removed", "network", have.Name, "bridge", have.Bridge().Device)
	}
	return err
}

// CheckRenumber returns an error if the default network cannot be changed to these settings:
// another network overlaps, or containers are connected.
func (r *Reconciler) CheckRenumber(settings network.BridgeSettings) error {
	have, ok := r.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}

	for _, want := range settings.WithIPv6(r.named(network.NameHost).ID).Predefined() {
		if want.Name != have.Name {
			continue
		}
		if err := r.clash(want); err != nil {
			return err
		}
		if len(r.store.SandboxesOn(have.ID)) > 0 {
			_, err := have.WithPools(want.Spec.Pools)
			return err
		}
	}

	return nil
}

// clash returns an error if a subnet overlaps another network.
func (r *Reconciler) clash(want network.Network) error {
	for _, other := range r.store.Networks() {
		for _, used := range other.AllPools() {
			for _, p := range want.Spec.Pools {
				if other.Name != want.Name && used.Subnet.Overlaps(p.Subnet) {
					return fault.New(fault.Exists, want.Subject(),
						p.HostPrefix().String()+" overlaps "+used.Subnet.String()+" of network "+other.Name,
						fault.WithField("bip"), fault.WithHint("choose another bip, or renumber that network: "+
							"fairlead network edit --subnet CIDR --renumber %s", other.Name))
				}
			}
		}
	}

	return nil
}

// Reconcile reconciles networks and bridges with the store.
func (r *Reconciler) Reconcile(ctx context.Context) error { return r.reconcileAll(ctx) }
