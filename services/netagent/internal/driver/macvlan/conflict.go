package macvlan

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Limits of address conflict detection. RFC 5227 waits seconds, for hosts whose switch port does
// not forward yet. The parent interface has long been connected.
const (
	claimProbes = 2
	claimPause  = 70 * time.Millisecond
	claimLimit  = 200 * time.Millisecond
)

// AddressOwner describes the host on the network's LAN that already uses an address. It returns an
// empty string if no host does. It sends nothing if the network has no LAN or conflict detection is
// off.
//
// The host sends the probe, through the shim if there is one: frames from the shim also reach the
// parent's other sub-interfaces.
func (d *Driver) AddressOwner(n network.Network, addr netip.Addr) (who string, err error) {
	if n.Parent().NoProbe || !n.OnLAN() {
		return "", nil
	}

	parent, ok, err := d.parent(n)
	if err != nil || !ok || !parent.Up || !parent.Carrier {
		return "", nil //nolint:nilerr // no host could respond; Attach reports the parent's state
	}

	has, err := d.host.Addresses(parent.Index)
	if err == nil {
		for _, p := range has {
			if p.Addr() == addr {
				return "this host itself, by " + parent.Name, nil
			}
		}
		mac, probeErr := d.probe(n, parent, addr)
		switch {
		case probeErr == nil && mac != nil:
			return mac.String() + " on the LAN of " + parent.Name, nil
		case probeErr == nil:
			return "", nil
		}
		err = probeErr
	}

	return "", fault.Wrap(err, fault.Internal, n.Subject(),
		fmt.Sprintf("cannot probe the LAN of %s for %s", n.Parent().Link, addr))
}

// probe sends probes for an address and returns the MAC of its owner; nil without a response.
func (d *Driver) probe(n network.Network, parent kernel.Link, addr netip.Addr) (net.HardwareAddr, error) {
	links, err := d.lanLinks(n, parent)
	if err != nil {
		return nil, err
	}

	own, filter := []net.HardwareAddr{}, kernel.FilterARP()
	for _, link := range links {
		own = append(own, link.MAC)
	}

	if addr.Is6() {
		filter = kernel.FilterND()
	}

	who, _, err := sendQuery(d.host, query{links, filter, frame.Probe(links[len(links)-1].MAC, addr), claimProbes,
		claimPause, claimLimit},
		func(data []byte, _ bool) (net.HardwareAddr, bool) { return frame.ConflictFrom(data, addr, own...) })
	return who, err
}
