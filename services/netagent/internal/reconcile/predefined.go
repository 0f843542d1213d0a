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

// StorePredefined stores the networks that the configuration says are always there. Their ids are made once and stay. Sandboxes on a network
// whose subnet has changed keep their addresses, unless they are to be renumbered. A network whose bridge has changed, or whose subnet
// overlaps the one before, keeps the old ones while sandboxes are on it, and so does the default bridge if there is to be none.
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
			have.EndpointsOutdated = have.EndpointsOutdated || !reflect.DeepEqual(have.Pools, want.Pools)
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

// named answers the network with that name; if there is none, one that has an id and nothing else.
func (r *Reconciler) named(name string) store.Network {
	if have, ok := r.store.NetworkNamed(name); ok {
		return have
	}
	return store.Network{Network: network.Network{ID: id.New(), CreatedAt: time.Now().UTC()}}
}

// mergePredefined makes of the wanted network what can be had now.
func (r *Reconciler) mergePredefined(have, want network.Network, renumber bool) (network.Network, error) {
	want.ID, want.CreatedAt, want.AdoptedBridge = have.ID, have.CreatedAt, have.AdoptedBridge
	if on := r.store.SandboxesOn(have.ID); len(on) > 0 {
		want = r.mergeInUse(have, want, on, renumber)
	}
	if want.Bridge != have.Bridge {
		_, there, err := r.host.Link(want.Bridge)
		if err != nil {
			return want, fault.Wrap(err, fault.Internal, want.Subject(), "cannot look for its bridge")
		}
		want.AdoptedBridge = there // what others have made stays when the network goes
	}
	want.InhibitIPv4 = want.InhibitIPv4 && want.AdoptedBridge // on a bridge of our own we look after the address
	return want, nil
}

// mergeInUse makes of the wanted network what can be had while sandboxes are on it.
func (r *Reconciler) mergeInUse(have, want network.Network, on []network.Sandbox, renumber bool) network.Network {
	names := make([]string, len(on))
	for i, sb := range on {
		names[i] = sb.DisplayName()
	}
	pools := want.Pools
	if want.Bridge != have.Bridge {
		pools = have.Pools
	}
	moved, err := have.WithPools(pools)
	if err != nil || want.Bridge != have.Bridge {
		r.log.Warn("network keeps its subnet and bridge while containers are on it; stop them and start again", "network", have.Name, "containers", names,
			"bridge", have.Bridge, "pools", have.Pools, "configured_bridge", want.Bridge, "configured_pools", want.Pools, "error", err)
		moved = have
	}
	want.Bridge, want.Pools, want.Former, want.FormerSubnets, want.MAC = moved.Bridge, moved.Pools, moved.Former, moved.FormerSubnets, moved.MAC
	want.Renumbering = len(want.Former) > 0 && (renumber || have.Renumbering)
	if len(want.Former) > 0 && !want.Renumbering {
		r.log.Warn("network has another subnet, and containers keep addresses of the one before; restart them, or: fairlead config reload --renumber",
			"network", have.Name, "containers", names, "pools", want.Pools, "former_pools", want.Former)
	}
	return want
}

// deleteDefaultBridge begins to delete the default network. Who finishes that is package networks.
func (r *Reconciler) deleteDefaultBridge() error {
	have, ok := r.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}
	on, err := r.store.MarkDeleting(have.ID, true)
	if len(on) > 0 {
		r.log.Warn("network stays while containers are on it; stop them and start again", "network", have.Name, "bridge", have.Bridge)
	}
	return err
}

// CheckRenumber refuses settings that the default network cannot have now: for others have its subnet, or containers are on it.
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
			_, err := have.WithPools(want.Pools)
			return err
		}
	}
	return nil
}

// clash refuses a subnet of which another network has a part.
func (r *Reconciler) clash(want network.Network) error {
	for _, other := range r.store.Networks() {
		for _, theirs := range other.AllPools() {
			for _, p := range want.Pools {
				if other.Name != want.Name && theirs.Subnet.Overlaps(p.Subnet) {
					return fault.New(fault.Exists, want.Subject(), "cannot have "+p.HostPrefix().String()+", as network "+other.Name+" has "+theirs.Subnet.String(),
						fault.WithField("bip"), fault.WithHint("choose another bip, or move that network: fairlead network edit --subnet CIDR --renumber %s", other.Name))
				}
			}
		}
	}
	return nil
}

// Reconcile makes right what is wrong with networks and their bridges now that they are stored as they shall be.
func (r *Reconciler) Reconcile(ctx context.Context) error { return r.again(ctx) }
