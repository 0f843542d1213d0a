package bridge

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Compare implements driver.Driver. It compares the ports of a bridge, its FDB and its neighbour
// entries, and does not enter namespaces. A missing bridge has no ports: EnsureNetwork creates it.
func (d *Driver) Compare(n network.Network, sandboxes []endpoint.Sandbox) (map[string][]string, error) {
	wanted := endpointsOn(n, sandboxes)
	if len(wanted) == 0 {
		return nil, nil
	}

	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return nil, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up bridge")
	}

	out := map[string][]string{}
	err = errors.Join(d.comparePorts(bridge, wanted, out), d.compareNeighbours(bridge, wanted, out))
	return out, fault.Wrap(err, fault.Internal, n.Subject(), "cannot compare bridge")
}

// comparePorts adds the host ends that are not as wanted to out.
func (d *Driver) comparePorts(bridge kernel.Link, wanted map[string]wantedEndpoint, out map[string][]string) error {
	have, err := d.host.Forwardings(bridge.Index)
	if err != nil {
		return err
	}

	var errs []error
	for name, e := range wanted {
		port, there, err := d.host.Link(name)
		errs = append(errs, err)
		switch {
		case err != nil:
		case !there:
			out[e.owner] = append(out[e.owner], "port "+name+" is missing")
		case port.Master != bridge.Index || !port.Up:
			out[e.owner] = append(out[e.owner], "port "+name+" is down or not on the bridge")
		case !have[kernel.Forwarding{Port: port.Index, MAC: e.MAC.String()}]:
			out[e.owner] = append(out[e.owner], "FDB entry "+e.MAC.String()+" is missing")
		}
	}
	return errors.Join(errs...)
}

// compareNeighbours adds missing and wrong neighbour entries of a bridge to out.
func (d *Driver) compareNeighbours(
	bridge kernel.Link, wanted map[string]wantedEndpoint, out map[string][]string,
) error {
	have, err := d.host.Neighbours(bridge.Index)
	if err != nil {
		return err
	}

	missing := neighboursOf(wanted)
	for _, h := range have {
		if w, wantedHere := missing[h.Addr]; wantedHere && w.MAC.String() == h.MAC.String() {
			delete(missing, h.Addr)
		}
	}
	for _, w := range missing {
		out[w.owner] = append(out[w.owner], "neighbour entry "+w.Addr.String()+" is missing")
	}
	return nil
}
