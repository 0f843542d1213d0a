package netagent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

var _ service.Service = (*Service)(nil)

func TestSandboxMatchesDocker(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	if want := filepath.Join(a.cfg.ExecRoot, "netns", sb.Owner[:12]); sb.NetnsPath != want {
		t.Errorf("got namespace path %s, want %s", sb.NetnsPath, want)
	}

	has(t, "eth0", a.in(sb, "ip", "-d", "addr", "show", "eth0"), "inet 172.17.0.2/16 brd 172.17.255.255",
		"link/ether 02:42:ac:11:00:02", "mtu 1500", "state UP", "veth")
	if s := a.in(sb, "ip", "link", "show", "eth0"); strings.Contains(s, "qlen") {
		t.Errorf("eth0 has a transmit queue: %s", s)
	}

	has(t, "lo", a.in(sb, "ip", "addr", "show", "lo"), "127.0.0.1/8", "::1/128", "UP")
	has(t, "the routes", a.in(sb, "ip", "route"), "default via 172.17.0.1 dev eth0", "172.17.0.0/16 dev eth0")
	has(t, "the container's neighbour entries", a.in(sb, "ip", "neigh"),
		"172.17.0.1 dev eth0 lladdr 02:42:ac:11:00:01 PERMANENT")
	if s := a.in(sb, "ip", "-6", "addr", "show", "eth0"); s != "" {
		t.Errorf("got IPv6 addresses %s, want none", s)
	}

	for path, want := range map[string]string{"net/ipv4/ip_unprivileged_port_start": "0",
		"net/ipv4/ping_group_range":       "0\t2147483647",
		"net/ipv6/conf/eth0/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "0"} {
		if got := a.in(sb, "cat", "/proc/sys/"+path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if n := len(strings.Split(a.in(sb, "ip", "-o", "link"), "\n")); n != 2 {
		t.Errorf("got %d interfaces, want lo and eth0:\n%s", n, a.in(sb, "ip", "-o", "link"))
	}
}

func TestBridgeHasPortPerContainer(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	e := sb.Endpoints[0]
	has(t, "docker0", a.ns.Run("ip", "-d", "addr", "show", "docker0"), "172.17.0.1/16", "02:42:ac:11:00:01",
		"mtu 1500", "bridge")
	has(t, "the port", a.ns.Run("ip", "-d", "link", "show", e.HostInterface), "master docker0", "hairpin on",
		"isolated off", "state UP",
		"alias "+endpoint.Alias(e.NetworkID, sb.Owner))
	has(t, "the host's neighbour entries", a.ns.Run("ip", "neigh", "show", "dev", "docker0"),
		"172.17.0.2 lladdr 02:42:ac:11:00:02 PERMANENT")
	for path, want := range map[string]string{"net/ipv4/conf/docker0/route_localnet": "1",
		"net/ipv4/conf/docker0/forwarding": "1",
		"net/ipv6/conf/docker0/accept_ra":  "0"} {
		if got := a.ns.Run("cat", "/proc/sys/"+path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}

	a.mustReach(a.ns.Path(), "172.17.0.2")
	a.mustReach(sb.NetnsPath, "172.17.0.1")
	a.mustReach(sb.NetnsPath, a.address(a.container()))
}

// address returns the IPv4 address of a sandbox's first endpoint.
func (h *host) address(sb endpoint.Sandbox) string { return sb.Endpoints[0].IPv4.Addr().String() }

func TestReleaseRemovesEverything(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	a.release(sb)
	a.release(sb)
	a.checkNoState()
	if got := a.address(a.container()); got != "172.17.0.2" {
		t.Errorf("the address is not reused: got %s", got)
	}
}

func TestSandboxWithoutEndpointsHasLoopback(t *testing.T) {
	a := newHost(t).run()
	sb := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private})
	if n := len(strings.Split(a.in(sb, "ip", "-o", "link"), "\n")); n != 1 {
		t.Errorf("got %d interfaces, want lo only", n)
	}
	has(t, "lo", a.in(sb, "ip", "addr"), "127.0.0.1/8", "::1/128", "UP")
}

func TestHostModeIsRecordedOnly(t *testing.T) {
	a := newHost(t).run()
	sb := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Host})
	if sb.NetnsPath != "" || len(a.pins()) > 0 {
		t.Errorf("got namespace %q, pins %v, want none", sb.NetnsPath, a.pins())
	}
	if _, err := a.sandboxes.Get(sb.Owner); err != nil {
		t.Error(err)
	}
	a.release(sb)
	if _, err := a.sandboxes.Get(sb.Owner); !fault.Is(err, fault.NotFound) {
		t.Errorf("after release: got %v, want NotFound", err)
	}
}

func TestCreateSandboxIsIdempotent(t *testing.T) {
	a := newHost(t).run()
	first := a.container()
	if again := a.create(onBridge(first.Owner)); again.Endpoints[0].ID != first.Endpoints[0].ID ||
		len(a.ports("docker0")) != 1 {
		t.Errorf("repeated request: got %v, ports %v", again, a.ports("docker0"))
	}
	_, err := a.sandboxes.Create(context.Background(), endpoint.Request{Owner: first.Owner, Mode: endpoint.Private})
	if !fault.Is(err, fault.Exists) {
		t.Errorf("different content: got %v, want Exists", err)
	}
	a.mustReach(a.ns.Path(), "172.17.0.2")
}

func TestInvalidRequestsChangeNothing(t *testing.T) {
	a := newHost(t).run()
	for name, c := range map[string]struct {
		req  endpoint.Request
		kind fault.Kind
	}{
		"no owner":      {endpoint.Request{Mode: endpoint.Private}, fault.Invalid},
		"a short owner": {endpoint.Request{Owner: "web", Mode: endpoint.Private}, fault.Invalid},
		"no mode":       {endpoint.Request{Owner: id.New()}, fault.Invalid},
		"an unknown network": {endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "nosuch"}}}, fault.NotFound},
		"an empty network": {endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: ""}}}, fault.Invalid},
		"an endpoint on host": {endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "host"}}}, fault.Invalid},
		"an endpoint on none": {endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "none"}}}, fault.Invalid},
		"endpoints in host mode": {endpoint.Request{Owner: id.New(), Mode: endpoint.Host,
			Endpoints: []endpoint.Spec{{Network: "bridge"}}}, fault.Invalid},
		"a network twice": {endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "bridge"}, {Network: "default"}}}, fault.Invalid},
	} {
		if _, err := a.sandboxes.Create(context.Background(), c.req); !fault.Is(err, c.kind) {
			t.Errorf("%s: got %v, want kind %d", name, err, c.kind)
		}
	}

	a.checkNoState()
}

func TestConcurrentCreation(t *testing.T) {
	a := newHost(t).run()
	const n = 50
	all := make([]endpoint.Sandbox, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			sb, err := a.sandboxes.Create(context.Background(), onBridge(id.New()))
			if err != nil {
				t.Error(err)
			}
			all[i] = sb
		})
	}

	wg.Wait()
	if t.Failed() {
		return
	}

	seen := map[netip.Prefix]bool{}
	for _, sb := range all {
		seen[sb.Endpoints[0].IPv4] = true
	}
	if len(seen) != n || !seen[netip.MustParsePrefix("172.17.0.51/16")] {
		t.Errorf("got %d addresses for %d containers: %v", len(seen), n, seen)
	}

	a.mustReach(all[0].NetnsPath, a.address(all[n-1]))
	for _, sb := range all {
		wg.Go(func() {
			if err := a.sandboxes.Release(context.Background(), sb.Owner, endpoint.ReleaseKeep{}); err != nil {
				t.Error(err)
			}
		})
	}

	wg.Wait()
	a.checkNoState()
}

func TestConcurrentRequestsCreateOneSandbox(t *testing.T) {
	a := newHost(t).run()
	owner := id.New()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := a.sandboxes.Create(context.Background(), onBridge(owner)); err != nil {
				t.Error(err)
			}
		})
	}

	wg.Wait()
	if ports := a.ports("docker0"); len(ports) != 1 {
		t.Errorf("got ports %v, want one", ports)
	}
}

func TestExhaustedPoolRecovers(t *testing.T) {
	h := newHost(t)
	h.cfg.Bip = netip.MustParsePrefix("192.168.10.1/24")
	h.cfg.FixedCIDR = netip.MustParsePrefix("192.168.10.4/31")
	h.cfg.DefaultGateway = netip.MustParseAddr("192.168.10.254")
	a := h.run()
	first, second := a.container(), a.container()
	if a.address(first) != "192.168.10.4" || a.address(second) != "192.168.10.5" {
		t.Errorf("got addresses %s and %s", a.address(first), a.address(second))
	}

	has(t, "eth0", a.in(first, "ip", "addr", "show", "eth0"), "192.168.10.4/24", "02:42:c0:a8:0a:04")
	has(t, "the routes", a.in(first, "ip", "route"), "default via 192.168.10.254")
	_, err := a.sandboxes.Create(context.Background(), onBridge(id.New()))
	bridge, _ := a.store.NetworkNamed("bridge")
	want := "no available IPv4 addresses on this network's address pools: bridge (" + bridge.ID[:12] + ")"
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), want) {
		t.Errorf("third sandbox: got %v, want %s", err, want)
	}

	a.release(first)
	if got := a.address(a.container()); got != "192.168.10.4" {
		t.Errorf("after release: got %s", got)
	}
}

func TestFullBridgeLeavesNoState(t *testing.T) {
	a := newHost(t).run()
	var batch strings.Builder
	for i := range 1023 {
		fmt.Fprintf(&batch, "link add name p%d numtxqueues 1 numrxqueues 1 master docker0 type veth peer name "+
			"q%d numtxqueues 1 numrxqueues 1\n", i, i)
	}

	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	a.ns.Run("ip", "-batch", file)
	links := a.ns.Run("ip", "-br", "link")
	_, err := a.sandboxes.Create(context.Background(), onBridge(id.New()))
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "1023 ports") {
		t.Errorf("port 1024: got %v", err)
	}
	if now := a.ns.Run("ip", "-br", "link"); now != links {
		t.Error("links remain after the failure")
	}
	if len(a.pins()) > 0 || len(a.sandboxes.List()) > 0 {
		t.Errorf("got pins %v, sandboxes %v, want none", a.pins(), a.sandboxes.List())
	}
}

func TestFailedCreationLeavesNoState(t *testing.T) {
	a := newHost(t).run()
	dir := filepath.Join(a.cfg.ExecRoot, "netns")
	if err := os.Remove(dir); err != nil { // so that pinning, the last step, fails
		t.Fatal(err)
	}
	if _, err := a.sandboxes.Create(context.Background(), onBridge(id.New())); !fault.Is(err, fault.Internal) {
		t.Errorf("create: got %v, want Internal", err)
	}

	a.checkNoState()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := a.address(a.container()); got != "172.17.0.2" {
		t.Errorf("the address was not released: got %s", got)
	}
}

func TestBothFamilies(t *testing.T) {
	h := newHost(t)
	h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:17::/64")
	a := h.run()
	sb, other := a.container(), a.container()
	has(t, "eth0", a.in(sb, "ip", "addr", "show", "eth0"), "172.17.0.2/16", "fd00:17::2/64", "02:42:ac:11:00:02")
	has(t, "the routes", a.in(sb, "ip", "-6", "route"), "default via fd00:17::1 dev eth0")
	has(t, "the container's neighbour entries", a.in(sb, "ip", "neigh"),
		"fd00:17::1 dev eth0 lladdr 02:42:ac:11:00:01 PERMANENT")
	has(t, "the host's neighbour entries", a.ns.Run("ip", "neigh"),
		"fd00:17::2 dev docker0 lladdr 02:42:ac:11:00:02 PERMANENT")
	has(t, "the local routes", a.ns.Run("ip", "-6", "route", "show", "table", "local", "dev", "docker0"), "local ::1")
	a.mustReach(a.ns.Path(), "fd00:17::2")
	a.mustReach(sb.NetnsPath, other.Endpoints[0].IPv6.Addr().String())
	a.mustReach(a.ns.Path(), "::1")
}
