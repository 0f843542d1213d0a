package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Sweep sets the flags of all ports of a network, as an earlier version may have set other ones. It
// attaches ports that were detached, writes missing entries of the bridge and of the port guard, and
// removes the links and neighbour entries of the network that no sandbox has. It looks up links in
// one list, without a request for each.
func (d *Driver) Sweep(n network.Network, sandboxes []endpoint.Sandbox, list func() ([]kernel.Link, error)) (
	changes []string, err error) {
	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return nil, fault.New(fault.Unavailable, n.Subject(), "bridge "+n.Bridge().Device+" does not exist",
			fault.WithCause(err))
	}

	links, err := list()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, n.Subject(), "cannot list links")
	}

	wanted := endpointsOn(n, sandboxes)
	ports, err := d.sweepPorts(n, bridge, links, wanted)
	neighbours, nerr := d.sweepNeighbours(n, bridge, wanted)
	stale, serr := d.sweepLinks(n, bridge, links, wanted)
	return slices.Concat(ports, neighbours, stale), fault.Wrap(errors.Join(err, nerr, serr), fault.Internal,
		n.Subject(), "cannot restore bridge")
}

type wantedEndpoint struct {
	endpoint.Endpoint
	owner string
}

// endpointsOn returns the endpoints on a network by the name of their host end.
func endpointsOn(n network.Network, sandboxes []endpoint.Sandbox) map[string]wantedEndpoint {
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

// sweepPorts sets the flags of the host ends that exist, and attaches those that are not attached to
// the bridge.
func (d *Driver) sweepPorts(n network.Network, bridge kernel.Link, links []kernel.Link,
	wanted map[string]wantedEndpoint) (changes []string, err error) {
	for _, l := range links {
		e, wantedHere := wanted[l.Name]
		if !wantedHere {
			continue
		}
		if l.Master != bridge.Index {
			err = errors.Join(err, d.host.SetMaster(l.Name, bridge.Index))
		}
		if l.Master != bridge.Index || !l.Up {
			changes = append(changes, "port "+l.Name)
		}
		err = errors.Join(err, d.host.PutForwarding(l.Index, e.MAC), d.host.SetPort(d.portOf(n, e.owner, e.Endpoint)))
		if !e.Renumbering { // otherwise its MAC is being changed
			err = errors.Join(err, d.guardPort(e.Endpoint))
		}
	}
	return changes, err
}

// sweepNeighbours adds missing neighbour entries of a bridge, and deletes those of the network's
// subnets that no endpoint has.
func (d *Driver) sweepNeighbours(n network.Network, bridge kernel.Link, wanted map[string]wantedEndpoint) (
	changes []string, err error) {
	have, err := d.host.Neighbours(bridge.Index)
	if err != nil {
		return nil, err
	}

	missing := neighboursOf(wanted)
	for _, h := range have {
		w, wantedHere := missing[h.Addr]
		switch {
		case wantedHere && w.MAC.String() == h.MAC.String():
			delete(missing, h.Addr)
		case !wantedHere && inPools(n, h):
			err = errors.Join(err, d.host.DeleteNeighbour(bridge.Index, h.Addr))
			changes = append(changes, "removed neighbour "+h.Addr.String())
		}
	}

	for _, w := range missing {
		err = errors.Join(err, d.host.PutNeighbour(bridge.Index, w.Neighbour))
		changes = append(changes, "neighbour "+w.Addr.String())
	}

	return changes, err
}

// wantedNeighbour is a neighbour entry of a bridge, and the owner of its endpoint.
type wantedNeighbour struct {
	kernel.Neighbour
	owner string
}

// neighboursOf returns the neighbour entries of endpoints by address.
func neighboursOf(wanted map[string]wantedEndpoint) map[netip.Addr]wantedNeighbour {
	out := map[netip.Addr]wantedNeighbour{}
	for _, e := range wanted {
		for _, p := range e.AllAddresses() {
			out[p.Addr()] = wantedNeighbour{kernel.Neighbour{Addr: p.Addr(), MAC: e.MAC}, e.owner}
		}
	}
	return out
}

func inPools(n network.Network, h kernel.Neighbour) bool {
	for _, p := range n.AllPools() {
		if p.Subnet.Contains(h.Addr) {
			return true
		}
	}
	return false
}

// sweepLinks deletes stale host ends of the network, including those whose creation was
// interrupted.
func (d *Driver) sweepLinks(n network.Network, bridge kernel.Link, links []kernel.Link,
	wanted map[string]wantedEndpoint) (changes []string, err error) {
	for _, l := range links {
		if _, wantedHere := wanted[l.Name]; wantedHere || !endpoint.AliasIsOf(l.Alias, n.ID) &&
			!(unfinished(l) && l.Master == bridge.Index) {
			continue
		}
		err = errors.Join(err, d.host.DeleteLink(l.Index))
		changes = append(changes, fmt.Sprintf("removed link %s (%s)", l.Name, l.Alias))
	}
	return changes, err
}

// unfinished reports whether a link is a host end that has no alias yet.
func unfinished(l kernel.Link) bool {
	return l.Alias == "" && l.Kind == "veth" && endpoint.IsHostEnd(l.Name, l.MAC)
}
