package bridge

import (
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Restore reconciles the bridge's ports and neighbour entries with the sandboxes. Unless sweep is
// nil, it also removes stale neighbour entries in the network's subnets, and stale links of the
// network among those that sweep returns. A sweep must not run while a sandbox is created.
func (d *Driver) Restore(n network.Network, sandboxes []network.Sandbox,
	sweep func() ([]kernel.Link, error)) (changes []string, err error) {
	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return nil, fault.New(fault.Unavailable, n.Subject(), "bridge "+n.Bridge().Device+" does not exist",
			fault.WithCause(err))
	}

	wanted := endpointsOn(n, sandboxes)
	if len(wanted) == 0 && sweep == nil {
		return nil, nil
	}

	ports, err := d.restorePorts(n, bridge, wanted, sweep)
	changes = append(changes, ports...)
	guard, gerr := d.restoreGuard(bridge, wanted)
	changes, err = append(changes, guard...), errors.Join(err, gerr)
	neighbours, nerr := d.restoreNeighbours(n, bridge, wanted, sweep != nil)
	changes = append(changes, neighbours...)
	if err = errors.Join(err, nerr); sweep != nil {
		links, lerr := sweep()
		if lerr != nil {
			return changes, fault.Wrap(errors.Join(err, lerr), fault.Internal, n.Subject(), "cannot list stale links")
		}
		swept, serr := d.sweepLinks(n, bridge, links, wanted)
		changes, err = append(changes, swept...), errors.Join(err, serr)
	}

	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot restore bridge")
}

type wantedEndpoint struct {
	network.Endpoint
	owner string
}

// endpointsOn returns the endpoints on a network by the name of their host end.
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

// restorePorts attaches host ends that are not attached to the bridge. The first run sets the flags
// of all ports, as an earlier version may have set other ones; it has a list of all links.
func (d *Driver) restorePorts(n network.Network, bridge kernel.Link, wanted map[string]wantedEndpoint,
	list func() ([]kernel.Link, error)) (changes []string, err error) {
	first, lookUp := list != nil, d.host.Link
	if first {
		if lookUp, err = finder(list); err != nil {
			return nil, err
		}
	}

	for name, e := range wanted {
		l, there, lerr := lookUp(name)
		if err = errors.Join(err, lerr); !there {
			continue
		}
		if l.Master == bridge.Index && l.Up {
			if first {
				err = errors.Join(err, d.host.PutForwarding(l.Index, e.MAC),
					d.host.SetPort(d.portOf(n, e.owner, e.Endpoint)))
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

// finder returns a function that looks up links in a list, without a request for each.
func finder(list func() ([]kernel.Link, error)) (func(name string) (kernel.Link, bool, error), error) {
	all, err := list()
	if err != nil {
		return nil, err
	}

	byName := make(map[string]kernel.Link, len(all))
	for _, l := range all {
		byName[l.Name] = l
	}

	return func(name string) (kernel.Link, bool, error) {
		l, ok := byName[name]
		return l, ok, nil
	}, nil
}

func (d *Driver) restoreNeighbours(n network.Network, bridge kernel.Link, wanted map[string]wantedEndpoint,
	sweep bool) (changes []string, err error) {
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
		w, wantedHere := missing[h.Addr.String()]
		switch {
		case wantedHere && w.MAC.String() == h.MAC.String():
			delete(missing, h.Addr.String())
		case !wantedHere && sweep && inPools(n, h):
			err = errors.Join(err, d.host.DeleteNeighbour(bridge.Index, h.Addr))
			changes = append(changes, "removed neighbour "+h.Addr.String())
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

// sweepLinks deletes stale host ends of the network, including those whose creation was
// interrupted.
func (d *Driver) sweepLinks(n network.Network, bridge kernel.Link, links []kernel.Link,
	wanted map[string]wantedEndpoint) (changes []string, err error) {
	for _, l := range links {
		if _, wantedHere := wanted[l.Name]; wantedHere || !network.AliasIsOf(l.Alias, n.ID) &&
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
	return l.Alias == "" && l.Kind == "veth" && network.IsHostEnd(l.Name, l.MAC)
}
