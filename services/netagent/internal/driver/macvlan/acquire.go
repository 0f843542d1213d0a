package macvlan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// obtainLimit bounds how long a container waits for the LAN to give it addresses.
	obtainLimit = 10 * time.Second
	// maxDeclines bounds how many addresses are declined that others have.
	maxDeclines = 4
)

// AcquireLease makes an endpoint's interface in its namespace and asks the LAN for addresses by it, for those that it had before if the LAN
// still leaves them to it. If it fails, there is no interface, and nothing is left granted.
func (d *Driver) AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e, had network.Endpoint) (network.Endpoint, error) {
	parent, err := d.upParent(n)
	if err != nil {
		return e, err
	}
	if err := d.addUnaddressed(ns, n, parent, sb.Owner, e); err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, obtainLimit)
	defer cancel()
	four, six := make(chan leaseResult, 1), make(chan leaseResult, 1)
	d.begin(ctx, ns, n, sb, e, had.Lease4, n.DHCP4, false, four)
	d.begin(ctx, ns, n, sb, e, had.Lease6, n.DHCP6, true, six)
	got4, got6 := <-four, <-six
	e = e.WithLeases(got4.terms, got6.terms)
	if err := errors.Join(got4.err, got6.err); err != nil {
		_ = d.ReleaseLease(n, sb, e) // which ends by itself
		return e, errors.Join(err, ns.DeleteChild(e.Interface))
	}
	return e, nil
}

// addUnaddressed makes an endpoint's interface without an address, if it is not there.
func (d *Driver) addUnaddressed(ns *kernel.Namespace, n network.Network, parent kernel.Link, owner string, e network.Endpoint) error {
	_, _, there, err := ns.Child(e.Interface)
	if err != nil || there {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for "+e.Interface)
	}
	if err := d.add(ns, n, parent, owner, e); err != nil {
		return err
	}
	err = ns.UpWithoutAddress(e.Interface, n.DHCP6)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return errors.Join(d.explain(n, e, err), ns.DeleteChild(e.Interface))
	}
	return driver.AttachFault(n, e, errors.Join(err, ns.DeleteChild(e.Interface)))
}

// leaseResult is what a conversation ended with.
type leaseResult struct {
	terms *lease.Terms
	err   error
}

// begin starts the conversation of one family, if that is wanted.
func (d *Driver) begin(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e network.Endpoint, had *lease.Terms,
	wanted, ipv6 bool, out chan<- leaseResult) {
	if !wanted {
		out <- leaseResult{}
		return
	}
	must := e.Spec.IPv4
	if ipv6 {
		must = e.Spec.IPv6
	}
	now := time.Now()
	m := lease.NewInit(now, must, netip.Addr{})
	if had != nil && had.Protocol != lease.BySLAAC {
		m = lease.NewReboot(now, *had, must)
	}
	m.Jitter = jitter
	c, err := d.open(ns, n, sb, e, ipv6)
	if err != nil {
		out <- leaseResult{err: fault.Wrap(err, fault.Internal, n.Subject(), "cannot ask the LAN by "+e.Interface)}
		return
	}
	go func() {
		defer c.close()
		out <- c.obtain(ctx, m)
	}()
}

// obtain converses until an address is granted that nobody else has.
func (c *dhcpSession) obtain(ctx context.Context, m *lease.Client) leaseResult {
	limit, _ := ctx.Deadline()
	for range maxDeclines {
		event, err := c.talk(ctx, m, limit)
		switch {
		case event == lease.Refused:
			return leaseResult{err: fault.New(fault.Exists, c.n.Subject(), fmt.Sprintf("the LAN of %s gives %s, not %s, which was asked for", c.n.Parent, m.Offered, m.Required),
				fault.WithField("ip"), fault.WithHint("have its server reserve that address for hardware address %s, or ask for none", c.who.MAC))}
		case errors.Is(err, context.DeadlineExceeded) || err == nil && event != lease.Granted:
			return leaseResult{err: c.noServerFault()}
		case err != nil:
			return leaseResult{err: fault.Wrap(err, fault.Internal, c.n.Subject(), "cannot ask the LAN for an address")}
		}
		claimed, err := c.declineIfInUse(m)
		if err != nil {
			return leaseResult{terms: &m.Terms, err: err}
		}
		if !claimed {
			terms := m.Terms
			return leaseResult{terms: &terms}
		}
	}
	return leaseResult{err: fault.New(fault.Exhausted, c.n.Subject(), fmt.Sprintf("others on the LAN of %s have each of the %d addresses that its server gave",
		c.n.Parent, maxDeclines), fault.WithHint("have the server leave out what others have"))}
}

// noServerFault tells that no server has answered.
func (c *dhcpSession) noServerFault() error {
	who := "DHCP server"
	if c.ipv6 {
		who = "DHCPv6 server or router that advertises prefixes"
	}
	return fault.New(fault.Unavailable, c.n.Subject(), fmt.Sprintf("no %s on the LAN of %s has given an address within %s", who, c.n.Parent, obtainLimit),
		fault.WithHint("see that there is one, or make the network with --subnet and without --ipam-driver dhcp"))
}

// fit gives an interface the MTU that the LAN tells.
func fit(ns *kernel.Namespace, n network.Network, e network.Endpoint) error {
	mtu := e.MTU()
	if mtu == 0 || n.MTU != 0 {
		return nil
	}
	if err := ns.UpdateInterface(e.Interface, nil, mtu); err != nil && !errors.Is(err, syscall.EINVAL) { // more than the parent's is not to be had
		return err
	}
	return nil
}
