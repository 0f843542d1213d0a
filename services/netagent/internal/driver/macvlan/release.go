package macvlan

import (
	"errors"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/dhcp"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// leaveTries is the number of DHCPv6 release messages, leavePause the time between them, and
	// leaveLimit the time to wait for a confirmation. Without a server a release takes leaveLimit.
	leaveTries = 2
	leavePause = 400 * time.Millisecond
	leaveLimit = time.Second
)

// ReleaseLease releases an endpoint's leases. The host sends the messages, as the endpoint's
// interface may have been deleted. DHCPv6 servers confirm a release, and a missing confirmation is
// an error; DHCPv4 servers do not.
func (d *Driver) ReleaseLease(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	parent, err := d.upParent(n)
	if err != nil {
		return err
	}

	links, err := d.lanLinks(n, parent)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up the links to the LAN of "+n.Parent().Link)
	}

	leases := e.Leases()
	who, errs := lease.IdentityOf(sb.Owner, n.ID, sb.OwnerName, e.MAC), make([]error, len(leases))
	var all sync.WaitGroup
	for i, t := range leases {
		now := time.Now()
		if t.Adjusted(now, bootclock.Now()).Expired(now) { // it can belong to another client by now
			continue
		}
		switch t.Protocol {
		case lease.ByDHCP:
			errs[i] = d.release4(links[len(links)-1], who, t)
		case lease.ByDHCPv6:
			all.Go(func() { errs[i] = d.release6(links, who, t) })
		}
	}

	all.Wait()
	return fault.Wrap(errors.Join(errs...), fault.Unavailable, n.Subject(),
		"DHCP release failed on the LAN of "+n.Parent().Link)
}

func (d *Driver) release4(by kernel.Link, who lease.Identity, t lease.Terms) error {
	s, err := d.host.Packets(by.Index, kernel.FilterNone())
	if err != nil {
		return err
	}
	return errors.Join(s.Write(dhcp.Release4(who, t)), s.Close())
}

// release6 sends the release from the host's link-local address if there is one. The endpoint may not
// be able to receive the response any more.
func (d *Driver) release6(links []kernel.Link, who lease.Identity, t lease.Terms) error {
	own, err := d.host.LinkLocal(links[0].Index)
	if err != nil {
		return err
	}

	by := links[len(links)-1]
	if own.IsValid() {
		who.MAC, t.Client = by.MAC, own
	}

	release := dhcp.NewRelease6(who, t)
	_, ok, err := sendQuery(d.host, query{links, kernel.FilterUDP(true, dhcp.ClientPort6), release.Frame,
		leaveTries, leavePause, leaveLimit},
		func(data []byte, unsummed bool) (bool, bool) { return true, release.Answered(data, unsummed) })
	if err == nil && !ok {
		err = errors.New("DHCPv6 release of " + t.Address.Addr().String() + " was not confirmed")
	}

	return err
}
