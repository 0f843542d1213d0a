package kernel_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// tunnelHost is a host of a fleet with one container on a bridge.
type tunnelHost struct {
	ns, container *testns.NS
	kernel        *kernel.Host
	tunnel        kernel.Tunnel
	peer          kernel.TunnelPeer // as the others see it
	blocks        []kernel.TunnelRoute
}

// tunnelHosts returns hosts on a LAN. Host i has the underlay address 10.99.0.i or fd99::i and the
// blocks 10.128.i.0/26 and fd80:0:0:i::/122 with its container at .2.
func tunnelHosts(t *testing.T, count int, underlay string) []*tunnelHost {
	t.Helper()
	lan := testns.New(t)
	lan.Run("sh", "-ec", "ip link add br0 type bridge; ip link set br0 up")
	var all []*tunnelHost
	for i := 1; i <= count; i++ {
		ns, h := host(t)
		own := netip.MustParseAddr(fmt.Sprintf(underlay, i))
		lan.Run("ip", "link", "add", fmt.Sprint("port", i), "type", "veth", "peer", "name", "eth0", "netns", ns.Path())
		lan.Run("ip", "link", "set", fmt.Sprint("port", i), "master", "br0", "up")
		bits, nodad := "24", "scope global"
		if own.Is6() {
			bits, nodad = "64", "nodad"
		}
		ns.Run("sh", "-ec", fmt.Sprintf(`ip addr add %s/%s dev eth0 %s; ip link set eth0 up
			sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`, own, bits, nodad))
		mac := net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}
		hop := netip.MustParseAddr(fmt.Sprintf("fe80::%d", i))
		hops := []netip.Addr{hop}
		via := hop
		if own.Is4() {
			hops, via = append(hops, own), own
		}
		th := &tunnelHost{ns: ns, container: testns.New(t), kernel: h,
			tunnel: kernel.Tunnel{Name: "fltun0", Alias: "fairlead fleet", VNI: 7007, Port: 4789, Local: own, MAC: mac,
				MTU: 1430, IPv6: true},
			peer: kernel.TunnelPeer{Underlay: own, MAC: mac, NextHops: hops},
			blocks: []kernel.TunnelRoute{
				{To: netip.MustParsePrefix(fmt.Sprintf("10.128.%d.0/26", i)), Via: via},
				{To: netip.MustParsePrefix(fmt.Sprintf("fd80:0:0:%d::/122", i)), Via: hop}}}
		testns.Connect(t, ns, "br-app", "10.128.0.1/16 fd80::1/48", th.container, "eth0",
			fmt.Sprintf("10.128.%d.2/16", i))
		// IPv6 has no proxy for whole subnets: the container routes its subnet through the gateway.
		th.container.Run("sh", "-ec", fmt.Sprintf(`ip -6 addr add fd80:0:0:%d::2/128 dev eth0 nodad
			ip -6 route add fd80::1 dev eth0; ip -6 route add fd80::/48 via fd80::1`, i))
		ns.Run("sh", "-ec", `sysctl -qw net.ipv4.conf.br-app.proxy_arp=1 net.ipv4.neigh.br-app.proxy_delay=0`)
		all = append(all, th)
	}
	for i, th := range all {
		th.container.Listen("tcp", ":80")
		th.ns.Run("sh", "-ec", fmt.Sprintf("ip -6 route add fd80:0:0:%d::2 dev br-app", i+1))
	}
	return all
}

// sync reconciles a host with all hosts and returns the changes.
func (th *tunnelHost) sync(t *testing.T, all []*tunnelHost) []string {
	t.Helper()
	var peers []kernel.TunnelPeer
	var routes []kernel.TunnelRoute
	for _, o := range all {
		if o != th {
			peers, routes = append(peers, o.peer), append(routes, o.blocks...)
			for i := range routes {
				if routes[i].To.Addr().Is4() == th.tunnel.Local.Is4() {
					routes[i].Src = th.tunnel.Local
				}
			}
		}
	}
	changes, err := th.kernel.EnsureTunnel(th.tunnel)
	if err != nil {
		t.Fatal(err)
	}
	done, err := th.kernel.SyncTunnel(th.tunnel.Name, peers, routes)
	if err != nil {
		t.Fatal(err)
	}
	return append(changes, done...)
}

// connectAll connects to each container from each other one, in both families.
func connectAll(t *testing.T, all []*tunnelHost, when string) {
	t.Helper()
	for i, from := range all {
		for j := range all {
			for _, to := range []string{fmt.Sprintf("10.128.%d.2", j+1), fmt.Sprintf("fd80:0:0:%d::2", j+1)} {
				if i == j {
					continue
				}
				c, err := from.container.Dial("tcp", net.JoinHostPort(to, "80"), timeout)
				if err != nil {
					t.Errorf("%s: from %d to %s: %v", when, i+1, to, err)
					continue
				}
				_ = c.Close()
			}
		}
	}
}

// refuses connects to an address that the second host refuses with an ICMP error. It has the same address as the first
// one on its bridge, which cannot be the source of the error.
func refuses(t *testing.T, all []*tunnelHost) {
	t.Helper()
	target := "10.128.2.9"
	if all[1].tunnel.Local.Is6() {
		target = "fd80:0:0:2::9"
	}
	all[1].ns.Run("ip", "route", "add", "prohibit", target)
	c, err := all[0].container.Dial("tcp", net.JoinHostPort(target, "80"), timeout)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.EACCES) {
		t.Errorf("to %s: got error %v, want that of the other host", target, err)
	}
}

func TestTunnelConnectsHosts(t *testing.T) {
	for name, underlay := range map[string]string{"ipv4": "10.99.0.%d", "ipv6": "fd99::%d"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := tunnelHosts(t, 3, underlay)
			for _, th := range all {
				if changes := th.sync(t, all); len(changes) == 0 {
					t.Error("first sync changed nothing")
				}
			}
			connectAll(t, all, "at first")
			refuses(t, all)
			for _, th := range all {
				if changes := th.sync(t, all); len(changes) > 0 {
					t.Errorf("second sync changed %v", changes)
				}
			}

			one := all[0]
			for _, damage := range []string{"ip link delete fltun0", "bridge fdb del 02:00:00:00:00:02 dev fltun0",
				"ip route flush dev fltun0", "ip -6 route flush dev fltun0 proto 70",
				"ip neigh flush nud permanent dev fltun0",
				"ip link set fltun0 mtu 1300", "ip link set fltun0 down",
				"bridge fdb append 02:00:00:00:00:99 dst " + fmt.Sprintf(underlay, 9) + " dev fltun0",
				"ip route add 10.200.0.0/24 dev fltun0", "sysctl -qw net.ipv4.conf.fltun0.forwarding=0"} {
				one.ns.Run("sh", "-ec", damage)
				if changes := one.sync(t, all); len(changes) == 0 {
					t.Errorf("%s: not found", damage)
				}
				if changes := one.sync(t, all); len(changes) > 0 {
					t.Errorf("%s: second sync changed %v", damage, changes)
				}
			}
			connectAll(t, all, "after repairs")

			out := one.sync(t, all[:2])
			if routes := one.ns.Run("ip", "route"); len(out) == 0 || strings.Contains(routes, "10.128.3.0/26") {
				t.Errorf("removed host: changed %v, routes\n%s", out, routes)
			}
			if have := one.ns.Run("bridge", "fdb", "show", "dev", "fltun0"); strings.Contains(have, ":03 ") {
				t.Errorf("removed host has entries:\n%s", have)
			}
			if err := one.kernel.DeleteTunnel("fltun0", "another"); err != nil {
				t.Error(err)
			}
			one.ns.Run("ip", "link", "show", "fltun0") // belongs to another program, as it seems
			if err := one.kernel.DeleteTunnel("fltun0", "fairlead fleet"); err != nil {
				t.Error(err)
			}
			if out, err := one.ns.Try("ip", "link", "show", "fltun0"); err == nil {
				t.Errorf("still exists: %s", out)
			}
		})
	}
}

func TestTunnelRefusesForeignLink(t *testing.T) {
	ns, h := host(t)
	ns.Run("ip", "link", "add", "fltun0", "type", "bridge")
	_, err := h.EnsureTunnel(kernel.Tunnel{Name: "fltun0", VNI: 7007, Port: 4789, MTU: 1430,
		Local: netip.MustParseAddr("10.99.0.1"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}})
	if !errors.Is(err, kernel.ErrNotTunnel) {
		t.Errorf("got %v, want ErrNotTunnel", err)
	}
}
