package overlay

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/tunnel"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// tunnelAlias identifies the tunnel's device.
const tunnelAlias = "fairlead fleet"

// Port is the UDP port of the tunnel, that of VXLAN.
const Port = 4789

// usualMTU is the MTU of an underlay without a published one.
const usualMTU = 1500

// tunneled holds the networks on this host whose packets go to other hosts.
type tunneled struct {
	plain, encrypted map[string]bool // by ID
	ipv6             bool
}

func tunneledOf(networks []store.Network) tunneled {
	up := tunneled{plain: map[string]bool{}, encrypted: map[string]bool{}}
	for _, n := range networks {
		if !n.IsGlobal() || !n.Status.Up || n.Status.Deleting {
			continue
		}
		if up.ipv6 = up.ipv6 || n.HasIPv6(); n.Spec.Encrypted {
			up.encrypted[n.ID] = true
		} else {
			up.plain[n.ID] = true
		}
	}
	return up
}

// syncTunnel makes the tunnels as the view and the networks on this host require: the rules of
// natagent first, if there was no tunnel. Without a view, they stay as they are.
func (c *Controller) syncTunnel(ctx context.Context) error {
	c.tunnels.Lock()
	defer c.tunnels.Unlock()

	v := c.seen.Load()
	if v == nil {
		return nil
	}

	up := tunneledOf(c.Store.Networks())
	if v.self == nil || len(up.plain)+len(up.encrypted) == 0 {
		c.cover(nil)
		newKeys, err := c.Encryption.Sync(v.encrypted(tunneled{}))
		if newKeys {
			c.tend.Notify()
		}
		err = errors.Join(err, c.Kernel.DeleteTunnel(network.TunnelDevice, tunnelAlias))
		if ferr := c.sendTunnel(ctx, nil); err == nil {
			err = ferr
		}
		return err
	}

	served, err := c.connect(ctx, v, up)
	c.cover(served)
	return err
}

// Clean removes the tunnels from the host.
func (c *Controller) Clean() error {
	return errors.Join(c.Kernel.DeleteTunnel(network.TunnelDevice, tunnelAlias), c.Encryption.Clean())
}

func (c *Controller) cover(networks map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.covered = networks
}

// connect applies the tunnels to natagent and the kernel, concurrently unless one is new. It returns
// the networks that they serve: a failure of encryption does not affect other networks.
func (c *Controller) connect(ctx context.Context, v *view, up tunneled) (served map[string]bool, err error) {
	tunnel, err := tunnelOf(v.self, up.ipv6)
	if err != nil {
		return nil, err
	}

	peers := v.peers(up.plain)
	rules := rulesOf(tunnel, peers, v.encrypted(up))
	if len(c.sent.GetEncryptedDevices()) < len(rules.GetEncryptedDevices()) || c.sent == nil {
		if err := c.sendTunnel(ctx, rules); err != nil {
			return nil, err
		}
	}

	done := make(chan error, 1)
	go func() { done <- c.sendTunnel(ctx, rules) }()
	served = map[string]bool{}
	changes, errPlain := connectPlain(c.Kernel, tunnel, peers, len(up.plain) > 0)
	if len(changes) > 0 {
		c.Log.Info("tunnel reconciled", "device", tunnel.Name, "changes", changes)
	}
	newKeys, errEncrypted := c.Encryption.Sync(v.encrypted(up))
	if newKeys { // other hosts must know them
		c.tend.Notify()
	}
	if err := <-done; err != nil {
		return nil, errors.Join(errPlain, errEncrypted, err)
	}
	if errPlain == nil {
		maps.Copy(served, up.plain)
	}
	if errEncrypted == nil {
		maps.Copy(served, up.encrypted)
	}
	return served, errors.Join(fault.Wrap(errPlain, fault.Internal, "tunnel "+tunnel.Name, "cannot be set up"),
		errEncrypted)
}

// connectPlain applies the tunnel of networks without encryption, which exists only for them.
func connectPlain(k Kernel, tunnel kernel.Tunnel, peers []peer, needed bool) (changes []string, err error) {
	if !needed {
		return nil, k.DeleteTunnel(tunnel.Name, tunnel.Alias)
	}
	changes, err = k.EnsureTunnel(tunnel)
	if err != nil {
		return changes, err
	}
	hops, routes := entriesOf(tunnel, peers, sourceOf(k, tunnel.Local))
	more, err := k.SyncTunnel(tunnel.Name, hops, routes)
	return append(changes, more...), err
}

// sourceOf returns the source of ICMP errors to other hosts: the address of this one, which no other host has. It is
// zero while the host does not have it, because there can be no route with it.
func sourceOf(k Kernel, local netip.Addr) netip.Addr {
	if _, ok, err := k.LinkWith(local); err != nil || !ok {
		return netip.Addr{}
	}
	return local
}

// sendTunnel sends the tunnel to natagent unless it has acknowledged the same; nil: there is none.
func (c *Controller) sendTunnel(ctx context.Context, t *natv1.FirewallTunnel) error {
	if c.sentAny && (t == nil) == (c.sent == nil) && proto.Equal(c.sent, t) {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := c.Firewall.PutTunnel(ctx, &natv1.PutTunnelRequest{Tunnel: t}); err != nil {
		return fault.New(fault.Unavailable, "tunnel", "natagent cannot apply its firewall rules",
			fault.WithCause(err), fault.WithHint("check that natagent is running, then try again"))
	}
	c.sent, c.sentAny = t, true
	return nil
}

// callTimeout bounds one call of another service.
const callTimeout = 5 * time.Second

// tunnelOf returns the tunnel of this host.
func tunnelOf(self *fleetv1.OverlaySelf, ipv6 bool) (kernel.Tunnel, error) {
	mac, _, err := linkAddresses(self.GetHostId())
	local, perr := netip.ParseAddr(self.GetAddress())
	if err == nil {
		err = perr
	}

	extra := tunnel.Overhead(false, local.Is6())
	return kernel.Tunnel{Name: network.TunnelDevice, Alias: tunnelAlias, VNI: self.GetVni(), Port: Port,
		Local: local.Unmap(), MAC: mac, MTU: underlayMTU(self) - extra, IPv6: ipv6}, err
}

// underlayMTU returns the smallest MTU between hosts.
func underlayMTU(self *fleetv1.OverlaySelf) int {
	if mtu := int(self.GetUnderlayMtu()); mtu > 0 {
		return mtu
	}
	return usualMTU
}

// rulesOf returns the tunnels for natagent. Frames of the VXLAN device are described even without
// peers, because containers must not send any.
func rulesOf(t kernel.Tunnel, peers []peer, e encryption.View) *natv1.FirewallTunnel {
	out := &natv1.FirewallTunnel{Device: t.Name, Vni: t.VNI, Port: uint32(t.Port), Mtu: uint32(t.MTU)}
	for _, p := range peers {
		one := &natv1.FirewallPeer{Address: p.addr.String()}
		for _, b := range p.blocks {
			one.Blocks = append(one.Blocks, b.String())
		}
		out.Peers = append(out.Peers, one)
	}
	for _, name := range network.EncryptedDevices() {
		if e.Needed {
			out.EncryptedDevices = append(out.EncryptedDevices, &natv1.FirewallDevice{Name: name, Mtu: uint32(e.MTU)})
		}
	}
	return out
}

// entriesOf returns the kernel's entries and routes. The next hop of IPv4 is the underlay address, if
// that is IPv4 too, so that IPv4 works on hosts without IPv6. source is that of routes of its family.
func entriesOf(t kernel.Tunnel, peers []peer, source netip.Addr) (hops []kernel.TunnelPeer,
	routes []kernel.TunnelRoute) {
	for _, p := range peers {
		via4, needs := p.hop, map[netip.Addr]bool{}
		if p.addr.Is4() {
			via4 = p.addr
		}
		for _, b := range p.blocks {
			route := kernel.TunnelRoute{To: b, Via: p.hop}
			if b.Addr().Is4() {
				route.Via = via4
			}
			if b.Addr().Is4() == source.Is4() {
				route.Src = source
			}
			needs[route.Via] = true
			routes = append(routes, route)
		}
		hop := kernel.TunnelPeer{Underlay: p.addr, MAC: p.mac}
		for _, a := range []netip.Addr{via4, p.hop} {
			if needs[a] {
				hop.NextHops, needs[a] = append(hop.NextHops, a), false
			}
		}
		hops = append(hops, hop)
	}
	return hops, routes
}
