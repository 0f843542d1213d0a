package macvlan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// obtainLimit bounds the time that a container waits for a DHCP lease.
	obtainLimit = 10 * time.Second
	// maxDeclines bounds the number of offered addresses that are declined because of conflicts.
	maxDeclines = 4
)

// AcquireLease creates an endpoint's interface in its namespace and acquires leases for it. It
// prefers the addresses of had. On failure it removes the interface and releases the leases; a lease
// whose release fails expires.
func (d *Driver) AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox, e,
	had endpoint.Endpoint) (endpoint.Endpoint, error) {
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
	d.begin(ctx, ns, n, sb, e, had.Lease4, n.Spec.DHCP4, false, four)
	d.begin(ctx, ns, n, sb, e, had.Lease6, n.Spec.DHCP6, true, six)
	got4, got6 := <-four, <-six
	e = e.WithLeases(got4.terms, got6.terms)
	if err := errors.Join(got4.err, got6.err); err != nil {
		return e, errors.Join(err, d.ReleaseLease(n, sb, e), ns.DeleteChild(e.Interface))
	}

	return e, nil
}

// addUnaddressed creates an endpoint's interface without addresses, unless it exists.
func (d *Driver) addUnaddressed(ns *kernel.Namespace, n network.Network, parent kernel.Link, owner string,
	e endpoint.Endpoint) error {
	_, _, there, err := ns.Child(e.Interface)
	if err != nil || there {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up "+e.Interface)
	}

	if err := d.add(ns, n, parent, owner, e); err != nil {
		return err
	}

	err = ns.UpWithoutAddress(e.Interface, n.Spec.DHCP6)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return errors.Join(d.explain(n, e, err), ns.DeleteChild(e.Interface))
	}

	return driver.AttachFault(n, e, errors.Join(err, ns.DeleteChild(e.Interface)))
}

// leaseResult is the result of the DHCP session of one family.
type leaseResult struct {
	terms *lease.Terms
	err   error
}

// begin starts the DHCP session of one family, if the network uses DHCP for it.
func (d *Driver) begin(ctx context.Context, ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox,
	e endpoint.Endpoint, had *lease.Terms,
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
		m = lease.NewReboot(now, had.Adjusted(now, bootclock.Now()), must)
	}

	m.Jitter = jitter
	c, err := d.open(ns, n, sb, e, ipv6)
	if err != nil {
		out <- leaseResult{err: fault.Wrap(err, fault.Internal, n.Subject(), "cannot start DHCP on "+e.Interface)}
		return
	}

	go func() {
		defer c.close()
		out <- c.obtain(ctx, m)
	}()
}

// obtain runs the session until the server grants an address without a conflict.
func (c *dhcpSession) obtain(ctx context.Context, m *lease.Client) leaseResult {
	limit, _ := ctx.Deadline()
	for range maxDeclines {
		event, err := c.run(ctx, m, limit)
		switch {
		case event == lease.Refused:
			return leaseResult{err: fault.New(fault.Exists, c.n.Subject(),
				fmt.Sprintf("DHCP server on %s offered %s, not %s", c.n.Parent().Link, m.Offered, m.Required),
				fault.WithField("ip"), fault.WithHint("reserve the address for MAC %s, or request none", c.who.MAC))}
		case errors.Is(err, context.DeadlineExceeded) || err == nil && event != lease.Granted:
			return leaseResult{err: c.noServerFault()}
		case err != nil:
			return leaseResult{err: fault.Wrap(err, fault.Internal, c.n.Subject(), "cannot acquire a DHCP lease")}
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

	return leaseResult{err: fault.New(fault.Exhausted, c.n.Subject(),
		fmt.Sprintf("all addresses offered on %s are in use (%d tried)",
			c.n.Parent().Link, maxDeclines), fault.WithHint("exclude addresses in use from the server's range"))}
}

// noServerFault returns the fault for a missing response.
func (c *dhcpSession) noServerFault() error {
	who := "DHCP server"
	if c.ipv6 {
		who = "DHCPv6 server or router that advertises prefixes"
	}
	return fault.New(fault.Unavailable, c.n.Subject(),
		fmt.Sprintf("no response from a %s on %s within %s", who, c.n.Parent().Link, obtainLimit),
		fault.WithHint("check the server, or create the network with --subnet and without --ipam-driver dhcp"))
}

// fit sets the MTU that the DHCP server or router sent.
func fit(ns *kernel.Namespace, n network.Network, e endpoint.Endpoint) error {
	mtu := e.MTU()
	if mtu == 0 || n.Spec.MTU != 0 {
		return nil
	}
	// EINVAL: larger than the parent's
	if err := ns.UpdateInterface(e.Interface, nil, mtu); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
