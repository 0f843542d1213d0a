package kernel_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// BenchmarkCreateSandbox measures CreateSandbox below gRPC: addresses, store, namespace, endpoint.
// BenchmarkRawNetlinkSequence creates the same kernel objects and nothing else.
func BenchmarkCreateSandbox(b *testing.B) {
	ns := testns.New(b)
	m := manager(b, ns)
	var owners []string
	defer func() {
		for _, owner := range owners {
			if err := m.Release(context.Background(), owner, endpoint.ReleaseKeep{}); err != nil {
				b.Error(err)
			}
		}
	}()
	for b.Loop() {
		owner := id.New()
		if _, err := m.Create(context.Background(),
			endpoint.Request{Owner: owner, Mode: endpoint.Private,
				Endpoints: []endpoint.Spec{{Network: "bridge"}}}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		owners = rotate(b, append(owners, owner), func(owner string) error {
			return m.Release(context.Background(), owner, endpoint.ReleaseKeep{})
		})
		b.StartTimer()
	}
}

// BenchmarkReleaseSandbox measures the release of a sandbox.
func BenchmarkReleaseSandbox(b *testing.B) {
	m := manager(b, testns.New(b))
	for b.Loop() {
		b.StopTimer()
		owner := id.New()
		if _, err := m.Create(context.Background(),
			endpoint.Request{Owner: owner, Mode: endpoint.Private,
				Endpoints: []endpoint.Spec{{Network: "bridge"}}}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := m.Release(context.Background(), owner, endpoint.ReleaseKeep{}); err != nil {
			b.Fatal(err)
		}
	}
}

// rotate keeps the number of ports small and constant, as the kernel's time depends on it.
func rotate[T any](b *testing.B, all []T, release func(T) error) []T {
	if len(all) < 10 {
		return all
	}
	if err := release(all[0]); err != nil {
		b.Fatal(err)
	}
	return all[1:]
}

type open struct{}

func (open) Require(context.Context, store.Network) error { return nil }

// manager returns a sandbox manager with the default bridge in a namespace.
func manager(b *testing.B, ns *testns.NS) *sandbox.Manager {
	host, err := kernel.Open(ns.Path())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(host.Close)
	db, err := store.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	n := network.BridgeSettings{}.WithDefaults().Predefined()[0]
	n.ID = id.New()
	ports, err := portguard.Open(ns.Path(), "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ports.Close() })
	if os.Getenv("UNGUARDED") != "" { // for comparison
		ports = nil
	}
	bridges := bridge.New(host, ports)
	if _, _, err := bridges.EnsureNetwork(n, true); err != nil {
		b.Fatal(err)
	}
	if err := db.PutNetworks(store.Network{Network: n}); err != nil {
		b.Fatal(err)
	}

	drivers, locks := driver.Set{network.DriverBridge: bridges}, lock.New()
	syncer := attach.New(attach.Config{Store: db, Drivers: drivers, Locks: locks, Namespaces: namespace.Host{}})
	m := sandbox.New(sandbox.Config{Store: db, Drivers: drivers, Bringup: open{}, Attach: syncer, Locks: locks,
		Addresses: address.New(db, ipam.NewAllocator(time.Now), nil), Namespaces: namespace.Host{},
		Leases: leases.New(leases.Config{Store: db, Attach: syncer, Locks: locks, Namespaces: namespace.Host{}}),
		Dir:    filepath.Join(b.TempDir(), "netns")})
	if _, err := m.Recover(); err != nil {
		b.Fatal(err)
	}
	m.AcceptRequests()
	return m
}

// BenchmarkRawNetlinkSequence creates the kernel objects of a sandbox by direct netlink calls.
// These are a pinned namespace with lo, a veth pair to a bridge, address, route, neighbour entries
// and sysctls.
func BenchmarkRawNetlinkSequence(b *testing.B) {
	ns := testns.New(b)
	ns.Run("ip", "link", "add", "docker0", "address", "02:42:ac:11:00:01", "type", "bridge")
	ns.Run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
	ns.Run("ip", "link", "set", "docker0", "up")
	host := must(netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE))
	defer host.Close()
	br := must(host.LinkByName("docker0"))
	dir := b.TempDir()
	var pins []string
	defer func() {
		for _, p := range pins {
			check(kernel.Unpin(p))
		}
	}()
	for b.Loop() {
		pin := filepath.Join(dir, id.New()[:12])
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // never unlocked: the thread exits with the goroutine
			raw(host, br, pin)
		}()
		<-done
		b.StopTimer()
		pins = rotate(b, append(pins, pin), kernel.Unpin)
		b.StartTimer()
	}
}

func raw(host *netlink.Handle, br netlink.Link, pin string) {
	check(unix.Unshare(unix.CLONE_NEWNET))
	f := must(os.Open("/proc/thread-self/ns/net"))
	defer f.Close()
	h := must(netlink.NewHandle(unix.NETLINK_ROUTE))
	defer h.Close()
	check(h.LinkSetUp(must(h.LinkByName("lo"))))
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = "veth"+id.New()[:7], 1500, br.Attrs().Index
	mac := net.HardwareAddr{0x02, 0x42, 172, 17, 0, 2}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: mac,
		PeerNamespace: netlink.NsFd(f.Fd())}
	check(host.LinkAdd(veth))
	check(host.LinkSetHairpin(veth, true))
	check(host.LinkSetUp(veth))
	for path, value := range map[string]string{"ipv4/ip_unprivileged_port_start": "0",
		"ipv4/ping_group_range": "0 2147483647", "ipv6/conf/eth0/disable_ipv6": "1"} {
		check(os.WriteFile("/proc/sys/net/"+path, []byte(value), 0))
	}
	eth0 := must(h.LinkByName("eth0"))
	check(h.AddrAdd(eth0, must(netlink.ParseAddr("172.17.0.2/16"))))
	check(h.LinkSetUp(eth0))
	check(h.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.IPv4(172, 17, 0, 1)}))
	neighbour := &netlink.Neigh{State: netlink.NUD_PERMANENT, Family: netlink.FAMILY_V4, HardwareAddr: mac}
	neighbour.LinkIndex, neighbour.IP = eth0.Attrs().Index, net.IPv4(172, 17, 0, 1)
	check(h.NeighSet(neighbour))
	neighbour.LinkIndex, neighbour.IP = br.Attrs().Index, net.IPv4(172, 17, 0, 2)
	check(host.NeighSet(neighbour))
	check(os.WriteFile(pin, nil, 0o444))
	check(unix.Mount("/proc/thread-self/ns/net", pin, "", unix.MS_BIND, ""))
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// check aborts the benchmark from any goroutine.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
