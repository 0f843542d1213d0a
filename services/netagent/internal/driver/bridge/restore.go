package bridge

import (
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Restore compares the ports and neighbours of the network's bridge with the sandboxes that are plugged into it, and applies
// the difference. Unless sweep is nil it also removes what no sandbox has: links that this network made, of those that sweep
// answers, and neighbour entries in its subnets. Sweep only while no sandbox is being made.
func (d *Driver) Restore(n network.Network, sandboxes []network.Sandbox, sweep func() ([]kernel.Link, error)) (changes []string, err error) {
	bridge, ok, err := d.host.Link(n.Bridge)
	if err != nil || !ok {
		return nil, fault.New(fault.Unavailable, n.Subject(), "its bridge "+n.Bridge+" is not there", fault.WithCause(err))
	}
	wanted := endpointsOn(n, sandboxes)
	if len(wanted) == 0 && sweep == nil {
		return nil, nil
	}
	ports, err := d.restorePorts(n, bridge, wanted, sweep != nil)
	changes = append(changes, ports...)
	guard, gerr := d.restoreGuard(bridge, wanted)
	changes, err = append(changes, guard...), errors.Join(err, gerr)
	neighbours, nerr := d.restoreNeighbours(n, bridge, wanted, sweep != nil)
	changes = append(changes, neighbours...)
	if err = errors.Join(err, nerr); sweep != nil {
		links, lerr := sweep()
		if lerr != nil {
			return changes, fault.Wrap(errors.Join(err, lerr), fault.Internal, n.Subject(), "cannot look for leftovers")
		}
		swept, serr := d.sweepLinks(n, bridge, links, wanted)
		changes, err = append(changes, swept...), errors.Join(err, serr)
	}
	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot restore its bridge")
}

type wantedEndpoint struct {
	network.Endpoint
	owner string
}

// endpointsOn are the endpoints on the network, by the name of their host end.
func endpointsOn(n network.Network, sandboxes []network.Sandbox) map[string]wantedEndpoint {
	out := map[string]wantedEndpoint{}
	for _, sb := range sandboxes {
		for _, e := range sb.Endpoints {
			if e.NetworkID == n.ID {
				out[e.HostInterface] = wantedEndpoint{e, sb.Owner}
			}
		}
	}
	return out
}

// restorePorts plugs host ends in again that have lost their bridge. At first it sets the flags of all, which an earlier version may
// have set otherwise.
func (d *Driver) restorePorts(n network.Network, bridge kernel.Link, wanted map[string]wantedEndpoint, first bool) (changes []string, err error) {
	for name, e := range wanted {
		l, there, lerr := d.host.Link(name)
		if err = errors.Join(err, lerr); !there {
			continue
		}
		if l.Master == bridge.Index && l.Up {
			if first {
				err = errors.Join(err, d.host.PutForwarding(l.Index, e.MAC), d.host.SetPort(d.portOf(n, e.owner, e.Endpoint)))
			}
			continue
		}
		if l.Master != bridge.Index {
			err = errors.Join(err, d.host.SetMaster(l.Name, bridge.Index), d.host.PutForwarding(l.Index, e.MAC))
		}
		err = errors.Join(err, d.host.SetPort(d.portOf(n, e.owner, e.Endpoint)))
		changes = append(changes, "port "+l.Name)
	}
	return changes, err
}

func (d *Driver) restoreNeighbours(n network.Network, bridge kernel.Link, wanted map[string]wantedEndpoint, sweep bool) (changes []string, err error) {
	have, err := d.host.Neighbours(bridge.Index)
	if err != nil {
		return nil, err
	}
	missing := map[string]kernel.Neighbour{}
	for _, e := range wanted {
		for _, p := range e.AllAddresses() {
			missing[p.Addr().String()] = kernel.Neighbour{Addr: p.Addr(), MAC: e.MAC}
		}
	}
	for _, h := range have {
		w, ours := missing[h.Addr.String()]
		switch {
		case ours && w.MAC.String() == h.MAC.String():
			delete(missing, h.Addr.String())
		case !ours && sweep && inPools(n, h):
			err = errors.Join(err, d.host.DeleteNeighbour(bridge.Index, h.Addr))
			changes = append(changes, "without neighbour "+h.Addr.String())
		}
	}
	for _, w := range missing {
		err = errors.Join(err, d.host.PutNeighbour(bridge.Index, w))
		changes = append(changes, "neighbour "+w.Addr.String())
	}
	return changes, err
}

func inPools(n network.Network, h kernel.Neighbour) bool {
	for _, p := range n.AllPools() {
		if p.Subnet.Contains(h.Addr) {
			return true
		}
	}
	return false
}

// sweepLinks deletes host ends that this network made and no sandbox has, those among them whose creation was interrupted.
func (d *Driver) sweepLinks(n network.Network, bridge kernel.Link, links []kernel.Link, wanted map[string]wantedEndpoint) (changes []string, err error) {
	for _, l := range links {
		if _, ours := wanted[l.Name]; ours || !network.AliasIsOf(l.Alias, n.ID) && !(unfinished(l) && l.Master == bridge.Index) {
			continue
		}
		err = errors.Join(err, d.host.DeleteLink(l.Index))
		changes = append(changes, fmt.Sprintf("without link %s (%s)", l.Name, l.Alias))
	}
	return changes, err
}

// unfinished reports whether a link is a host end that has no alias yet.
func unfinished(l kernel.Link) bool {
	return l.Alias == "" && l.Kind == "veth" && network.IsHostEnd(l.Name, l.MAC)
}
