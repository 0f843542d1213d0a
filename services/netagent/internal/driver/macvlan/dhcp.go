package macvlan

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/dhcp"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// dhcpSession is the exchange of one family with the servers of a LAN. It uses the endpoint's own
// interface, as servers respond to its MAC and its addresses.
type dhcpSession struct {
	d         *Driver
	n         network.Network
	e         endpoint.Endpoint
	who       lease.Identity
	ipv6      bool
	linkLocal netip.Addr
	servers   *kernel.PacketSocket
	routers   *kernel.PacketSocket // IPv6 only
}

// open opens the sockets of a session. It must be called on the namespace's thread; the other
// methods need not be.
func (d *Driver) open(ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint,
	ipv6 bool) (c *dhcpSession, err error) {
	c = &dhcpSession{d: d, n: n, e: e, who: lease.IdentityOf(sb.Owner, n.ID, sb.OwnerName, e.MAC), ipv6: ipv6}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if !ipv6 {
		c.servers, err = ns.Packets(e.Interface, kernel.FilterUDP(false, dhcp.ClientPort4))
		return c, err
	}

	if c.linkLocal, err = ns.LinkLocal(e.Interface); err != nil {
		return c, err
	}

	if c.routers, err = ns.Packets(e.Interface, kernel.FilterND()); err != nil {
		return c, err
	}

	c.servers, err = ns.Packets(e.Interface, kernel.FilterUDP(true, dhcp.ClientPort6))
	return c, err
}

func (c *dhcpSession) close() {
	for _, s := range []*kernel.PacketSocket{c.servers, c.routers} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// run runs the client until an event occurs or the limit is reached.
func (c *dhcpSession) run(ctx context.Context, m *lease.Client, limit time.Time) (lease.Event, error) {
	if !c.ipv6 {
		return dhcp.RunV4(ctx, c.servers, c.who, m, limit)
	}

	if m.HasAddress() && m.Terms.Protocol == lease.BySLAAC {
		return dhcp.RunSLAAC(ctx, c.routers, c.who, c.linkLocal, m, limit)
	}

	router, err := dhcp.Router(ctx, c.routers, c.who, c.linkLocal)
	if err != nil {
		return lease.NoEvent, err
	}

	if t, ok := dhcp.SLAACTerms(router, c.linkLocal); ok && !m.HasAddress() {
		m.Tick(time.Now())
		return m.Receive(lease.Reply{Kind: lease.Ack, Terms: t}, time.Now()), nil
	}

	return dhcp.RunV6(ctx, c.servers, c.who, c.linkLocal, router, m, limit)
}

// declineIfInUse reports whether another host uses the address that was just granted. It then
// declines the address, and the client starts again.
func (c *dhcpSession) declineIfInUse(m *lease.Client) (bool, error) {
	who, err := c.d.AddressOwner(c.n, m.Terms.Address.Addr())
	if err != nil || who == "" {
		return false, err
	}

	switch m.Terms.Protocol {
	case lease.ByDHCP:
		err = c.servers.Write(dhcp.Decline4(c.who, m.Terms))
	case lease.ByDHCPv6:
		err = c.servers.Write(dhcp.Decline6(c.who, m.Terms))
	}

	m.Declined(time.Now())
	return true, err
}

// jitter extends a duration by up to a tenth.
func jitter(d time.Duration) time.Duration { return d + time.Duration(rand.Int64N(int64(d)/10+1)) }

// RunDHCP continues the lease of one family of an endpoint in its namespace, for a limited time.
func (d *Driver) RunDHCP(ctx context.Context, ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox,
	e endpoint.Endpoint, ipv6 bool,
	m *lease.Client, while time.Duration) (lease.Event, error) {
	c, err := d.open(ns, n, sb, e, ipv6)
	if err != nil {
		return lease.NoEvent, err
	}
	defer c.close()
	m.Jitter = jitter
	event, err := c.run(ctx, m, time.Now().Add(while))
	if err != nil || event != lease.Granted || hasAddress(e, m.Terms.Address.Addr()) {
		return event, err
	}

	if claimed, err := c.declineIfInUse(m); claimed || err != nil {
		return lease.NoEvent, err
	}

	return event, nil
}

func hasAddress(e endpoint.Endpoint, a netip.Addr) bool {
	for _, p := range e.Addresses() {
		if p.Addr() == a {
			return true
		}
	}
	return false
}
