package macvlan

import (
	"errors"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/dhcp"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// leaveTries is how often a DHCPv6 server is told that an address is given back, leavePause how long after the first time, and leaveLimit
	// for how long it is waited for that it says that it knows. Whoever gives something back waits that long where there is no server any more.
	leaveTries = 2
	leavePause = 400 * time.Millisecond
	leaveLimit = time.Second
)

// ReleaseLease gives back what the LAN has granted an endpoint. The endpoint's own interface may be gone, so the host says it. Over IPv4 nobody
// answers that; over IPv6 it is an error if nobody does.
func (d *Driver) ReleaseLease(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	parent, err := d.upParent(n)
	if err != nil {
		return err
	}
	voices, err := d.lanLinks(n, parent)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its way to the LAN of "+n.Parent)
	}
	leases := e.Leases()
	who, errs := lease.IdentityOf(sb.Owner, n.ID, sb.OwnerName, e.MAC), make([]error, len(leases))
	var all sync.WaitGroup
	for i, t := range leases {
		if t.Expired(time.Now()) { // it may be somebody else's by now
			continue
		}
		switch t.Protocol {
		case lease.ByDHCP:
			errs[i] = d.leave4(voices[len(voices)-1], who, t)
		case lease.ByDHCPv6:
			all.Go(func() { errs[i] = d.leave6(voices, who, t) })
		}
	}
	all.Wait()
	return fault.Wrap(errors.Join(errs...), fault.Unavailable, n.Subject(), "the LAN of "+n.Parent+" has not heard what is given back")
}

func (d *Driver) leave4(by kernel.Link, who lease.Identity, t lease.Terms) error {
	s, err := d.host.Packets(by.Index, kernel.FilterNone())
	if err != nil {
		return err
	}
	return errors.Join(s.Write(dhcp.Release4(who, t)), s.Close())
}

// leave6 says it in the host's name where that has a link-local address, as nobody may be there any more to hear what is answered to the
// endpoint's own.
func (d *Driver) leave6(voices []kernel.Link, who lease.Identity, t lease.Terms) error {
	own, err := d.host.LinkLocal(voices[0].Index)
	if err != nil {
		return err
	}
	by := voices[len(voices)-1]
	if own.IsValid() {
		who.MAC, t.Client = by.MAC, own
	}
	release := dhcp.NewRelease6(who, t)
	_, ok, err := sendQuery(d.host, query{voices, kernel.FilterUDP(true, dhcp.ClientPort6), release.Frame, leaveTries, leavePause, leaveLimit},
		func(data []byte, unsummed bool) (bool, bool) { return true, release.Answered(data, unsummed) })
	if err == nil && !ok {
		err = errors.New("no DHCPv6 server has said that it knows that " + t.Address.Addr().String() + " is free")
	}
	return err
}
