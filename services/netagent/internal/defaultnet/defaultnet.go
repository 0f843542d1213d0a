// Package defaultnet stores the predefined networks that follow from the configuration. It does not
// apply them: package bringup does. The root package of netagent calls it.
package defaultnet

import (
	"log/slog"
	"reflect"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Links finds links of the host.
type Links interface {
	Link(name string) (kernel.Link, bool, error)
}

// Predefined stores the predefined networks.
type Predefined struct {
	store *store.Store
	host  Links
	log   *slog.Logger
}

// New returns the predefined networks of a store.
func New(s *store.Store, host Links, log *slog.Logger) *Predefined {
	return &Predefined{store: s, host: host, log: log}
}

// Store stores the predefined networks of the configuration. Their IDs are created once.
//
// Sandboxes keep their addresses after a change of the subnet, unless they are to be renumbered.
// While sandboxes are connected, a network keeps its bridge and a subnet that overlaps the new one.
// The default bridge is not deleted while in use.
func (p *Predefined) Store(settings network.BridgeSettings) error {
	host := p.named(network.NameHost)
	var changed []store.Network
	for _, want := range settings.WithIPv6(host.ID).Predefined() {
		have := host
		if want.Name != network.NameHost {
			have = p.named(want.Name)
		}
		want, err := p.merge(have.Network, want, settings.Renumber)
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
		if err := p.store.PutNetworks(changed...); err != nil {
			return err
		}
	}

	if settings.NoBridge {
		return p.deleteDefaultBridge()
	}

	return nil
}

// named returns the network with a name, or one with only a new ID if there is none.
func (p *Predefined) named(name string) store.Network {
	if have, ok := p.store.NetworkNamed(name); ok {
		return have
	}
	return store.Network{Network: network.Network{ID: id.New(), CreatedAt: time.Now().UTC()}}
}

// merge returns the part of the wanted network that can be applied now.
func (p *Predefined) merge(have, want network.Network, renumber bool) (network.Network, error) {
	want.ID, want.CreatedAt, want.Status = have.ID, have.CreatedAt, have.Status.WithoutFormer()
	if on := p.store.SandboxesOn(have.ID); len(on) > 0 {
		want = p.mergeInUse(have, want, on, renumber)
	}

	if want.Bridge().Device != have.Bridge().Device {
		_, exists, err := p.host.Link(want.Bridge().Device)
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
func (p *Predefined) mergeInUse(have, want network.Network, on []endpoint.Sandbox, renumber bool) network.Network {
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
		p.log.Warn("network in use, keeping subnet and bridge",
			"network", have.Name, "containers", names,
			"bridge", have.Bridge().Device, "pools", have.Spec.Pools,
			"configured_bridge", want.Bridge().Device, "configured_pools", want.Spec.Pools, "error", err)
		moved = have
	}

	want.Spec.Bridge.Device, want.Spec.Pools = moved.Bridge().Device, moved.Spec.Pools
	want.Status = moved.Status
	want.Status.Renumbering = len(want.Status.Former) > 0 && (renumber || have.Status.Renumbering)
	if len(want.Status.Former) > 0 && !want.Status.Renumbering {
		p.log.Warn("network has former pools, restart its containers or reload with --renumber",
			"network", have.Name, "containers", names, "pools", want.Spec.Pools, "former_pools", want.Status.Former)
	}

	return want
}

// deleteDefaultBridge marks the default network for deletion. Package networks completes it.
func (p *Predefined) deleteDefaultBridge() error {
	have, ok := p.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}
	on, err := p.store.MarkDeleting(have.ID, true)
	if len(on) > 0 {
		p.log.Warn("network in use, not removed", "network", have.Name, "bridge", have.Bridge().Device)
	}
	return err
}

// CheckRenumber returns an error if the default network cannot be changed to these settings:
// another network overlaps, or containers are connected.
func (p *Predefined) CheckRenumber(settings network.BridgeSettings) error {
	have, ok := p.store.NetworkNamed(network.NameBridge)
	if !ok {
		return nil
	}

	for _, want := range settings.WithIPv6(p.named(network.NameHost).ID).Predefined() {
		if want.Name != have.Name {
			continue
		}
		if err := p.checkOverlap(want); err != nil {
			return err
		}
		if len(p.store.SandboxesOn(have.ID)) > 0 {
			_, err := have.WithPools(want.Spec.Pools)
			return err
		}
	}

	return nil
}

// checkOverlap returns an error if a subnet overlaps another network.
func (p *Predefined) checkOverlap(want network.Network) error {
	for _, other := range p.store.Networks() {
		for _, used := range other.AllPools() {
			for _, pool := range want.Spec.Pools {
				if other.Name != want.Name && used.Subnet.Overlaps(pool.Subnet) {
					return fault.New(fault.Exists, want.Subject(),
						pool.HostPrefix().String()+" overlaps "+used.Subnet.String()+" of network "+other.Name,
						fault.WithField("bip"), fault.WithHint("choose another bip, or renumber that network: "+
							"fairlead network update --subnet CIDR --renumber %s", other.Name))
				}
			}
		}
	}

	return nil
}
