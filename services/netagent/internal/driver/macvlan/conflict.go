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

// How long the LAN is asked who has an address. RFC 5227 takes seconds, for hosts that were just plugged into switches which do not pass
// frames on yet; the parent has long been plugged in.
const (
	claimProbes = 2
	claimPause  = 70 * time.Millisecond
	claimLimit  = 200 * time.Millisecond
)

// AddressOwner asks the network's LAN whether somebody else has an address, and answers in words who it is; nothing if nobody has it.
// Nobody is asked where there is no LAN, or where the network's maker does not want it.
//
// The host asks, from the shim if there is one: its frames reach the parent's other children too.
func (d *Driver) AddressOwner(n network.Network, addr netip.Addr) (who string, err error) {
	if n.NoProbe || !n.OnLAN() {
		return "", nil
	}
	parent, ok, err := d.parent(n)
	if err != nil || !ok || !parent.Up || !parent.Carrier {
		return "", nil //nolint:nilerr // nobody could answer; Attach says what is wrong
	}
	has, err := d.host.Addresses(parent.Index)
	if err == nil {
		for _, p := range has {
			if p.Addr() == addr {
				return "this host itself, by " + parent.Name, nil
			}
		}
		mac, asked := d.ask(n, parent, addr)
		switch {
		case asked == nil && mac != nil:
			return mac.String() + " on the LAN of " + parent.Name, nil
		case asked == nil:
			return "", nil
		}
		err = asked
	}
	return "", fault.Wrap(err, fault.Internal, n.Subject(), fmt.Sprintf("cannot ask the LAN of %s who has %s", n.Parent, addr))
}

// ask has the LAN asked by the host who has an address; nil if nobody says so.
func (d *Driver) ask(n network.Network, parent kernel.Link, addr netip.Addr) (net.HardwareAddr, error) {
	voices, err := d.lanLinks(n, parent)
	if err != nil {
		return nil, err
	}
	own, hear := []net.HardwareAddr{}, kernel.FilterARP()
	for _, link := range voices {
		own = append(own, link.MAC)
	}
	if addr.Is6() {
		hear = kernel.FilterND()
	}
	who, _, err := sendQuery(d.host, query{voices, hear, frame.Probe(voices[len(voices)-1].MAC, addr), claimProbes, claimPause, claimLimit},
		func(data []byte, _ bool) (net.HardwareAddr, bool) { return frame.ConflictFrom(data, addr, own...) })
	return who, err
}
