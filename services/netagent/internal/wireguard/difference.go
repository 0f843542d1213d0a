package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

const (
	// keepalive keeps the entries of NAT and firewalls on the way, and establishes sessions before
	// packets need them.
	keepalive = 25 * time.Second
	// SessionLife is the time after a handshake in which its session can be used.
	SessionLife = 180 * time.Second
)

// difference returns what must be changed, as one or two steps. An address of the second step belongs
// to no peer any more: it is moved to a temporary one, because replacing the addresses of a peer would
// drop its packets.
func difference(have *wgtypes.Device, want Device, now time.Time) (first wgtypes.Config, second *wgtypes.Config,
	changes []string) {
	if private := wgtypes.Key(want.Private); have.PrivateKey != private {
		first.PrivateKey = &private
		changes = append(changes, want.Name+" key")
	}
	if port := int(want.Port); have.ListenPort != port {
		first.ListenPort = &port
		changes = append(changes, fmt.Sprintf("%s port %d", want.Name, port))
	}

	peers := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range have.Peers {
		peers[p.PublicKey] = p
	}
	used := map[netip.Prefix]bool{}
	for _, w := range want.Peers {
		for _, p := range w.Allowed {
			used[p] = true
		}
	}
	var stale []net.IPNet
	for _, w := range want.Peers {
		p, exists := peers[wgtypes.Key(w.Key)]
		c, what := w.difference(p, exists, now)
		if what != "" {
			first.Peers = append(first.Peers, c)
			changes = append(changes, want.Name+" peer "+w.Endpoint.Addr().String()+what)
		}
		for _, n := range p.AllowedIPs {
			if !used[prefixOf(n)] {
				stale = append(stale, n)
			}
		}
	}

	if len(stale) > 0 {
		temporary, err := wgtypes.GenerateKey()
		if err != nil {
			return first, nil, changes // they stay until the next comparison
		}
		first.Peers = append(first.Peers, wgtypes.PeerConfig{PublicKey: temporary, AllowedIPs: stale})
		second = &wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: temporary, Remove: true, UpdateOnly: true}}}
		changes = append(changes, fmt.Sprintf("%s removed %d blocks", want.Name, len(stale)))
	}
	return first, second, changes
}

// difference returns what must be changed of a peer, in words too. The address from which its last
// packets came is kept while its session lasts: the peer can be behind NAT.
func (w Peer) difference(have wgtypes.Peer, exists bool, now time.Time) (c wgtypes.PeerConfig, what string) {
	c = wgtypes.PeerConfig{PublicKey: wgtypes.Key(w.Key), UpdateOnly: exists}
	if !exists {
		what = " added"
	}
	if have.PersistentKeepaliveInterval != keepalive {
		d := keepalive
		c.PersistentKeepaliveInterval = &d
		what += " keepalive"
	}
	if addressOf(have.Endpoint) != w.Endpoint && now.Sub(have.LastHandshakeTime) > SessionLife {
		c.Endpoint = net.UDPAddrFromAddrPort(w.Endpoint)
		what += " endpoint"
	}
	for _, p := range w.Allowed {
		if !slices.ContainsFunc(have.AllowedIPs, func(n net.IPNet) bool { return prefixOf(n) == p }) {
			c.AllowedIPs = append(c.AllowedIPs, net.IPNet{IP: p.Addr().AsSlice(),
				Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
			what += " " + p.String()
		}
	}
	return c, what
}

// surplus returns the change that removes all peers except some.
func surplus(have *wgtypes.Device, keep []tunnelkey.Key) (c wgtypes.Config, changes []string) {
	for _, p := range have.Peers {
		if !slices.Contains(keep, tunnelkey.Key(p.PublicKey)) {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true, UpdateOnly: true})
			changes = append(changes, have.Name+" peer "+addressOf(p.Endpoint).Addr().String()+" removed")
		}
	}
	return c, changes
}

func addressOf(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func prefixOf(n net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr, ones)
}
