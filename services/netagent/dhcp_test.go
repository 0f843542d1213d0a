package netagent

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// server is a dnsmasq process on the LAN host.
type server struct {
	*lan
	dir string
	cmd *exec.Cmd
}

// serve starts dnsmasq until the end of the test.
func (l *lan) serve(args ...string) *server {
	l.t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		if os.Getenv("CI") != "" {
			l.t.Fatal("dnsmasq is not installed; run make setup")
		}
		l.t.Skip("dnsmasq is not installed")
	}
	s := &server{lan: l, dir: l.t.TempDir()}
	s.start(args...)
	l.t.Cleanup(s.stop)
	return s
}

func (s *server) start(args ...string) {
	s.t.Helper()
	all := append([]string{"--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=wire",
		"--bind-interfaces", "--no-ping", "--log-dhcp", "--user=root",
		"--dhcp-leasefile=" + filepath.Join(s.dir, "leases"), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--log-facility=" + filepath.Join(s.dir, "log"),
		"--dhcp-authoritative"}, args...)
	s.cmd = s.Command(context.Background(), "dnsmasq", all...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("started", "DHCP")
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(s.dir, name))
	return string(data)
}

// eventually waits until the server's log contains all words.
func (s *server) eventually(what string, words ...string) {
	s.t.Helper()
	for end := time.Now().Add(waitTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		log := s.read("log")
		all := true
		for _, w := range words {
			all = all && strings.Contains(log, w)
		}
		if all {
			return
		}
	}
	s.t.Fatalf("timeout waiting for: %s; server log:\n%s", what, s.read("log"))
}

func createDHCPNetwork(t *testing.T, a *agent, ipv6 bool) network.Network {
	t.Helper()
	n, err := a.networks.Create(context.Background(), network.Draft{Name: "lan", Driver: "macvlan", IPAM: "dhcp",
		IPv6:    &ipv6,
		Options: map[string]string{network.OptParent: "lan0"}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDHCPAssignsAddresses(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	s := lan.serve("--dhcp-range=10.9.0.50,10.9.0.60,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s",
		"--enable-ra", "--dhcp-option=option:dns-server,10.9.0.53",
		"--dhcp-option=option:mtu,1400")
	createDHCPNetwork(t, a, true)
	start := time.Now()
	req := onNetwork("lan", "")
	req.OwnerName = "Web_1"
	sb := a.create(req)
	t.Logf("took %s", time.Since(start))
	e := sb.Endpoints[0]
	if !netip.MustParsePrefix("10.9.0.48/28").Contains(e.IPv4.Addr()) ||
		!strings.HasPrefix(e.IPv6.String(), "fd09::1") || e.IPv6.Bits() != 64 || e.Gateway4.String() != "10.9.0.1" ||
		!e.Gateway6.IsLinkLocalUnicast() || len(e.DNS) == 0 || e.DNS[0].String() != "10.9.0.53" {
		t.Errorf("got %+v", e)
	}

	a.mustReach(sb.NetnsPath, "10.9.0.1")
	a.mustReach(sb.NetnsPath, "fd09::1")
	has(t, "the interface", a.in(sb, "ip", "addr", "show", "eth0"), "mtu 1400", e.IPv4.String(), e.IPv6.String())
	has(t, "the routes", a.in(sb, "ip", "-6", "route"), "default via "+e.Gateway6.String())
	has(t, "the server's leases", s.read("leases"), "web-1", "ff:", e.IPv4.Addr().String(), e.IPv6.Addr().String())
	a.release(sb)
	s.eventually("released", "DHCPRELEASE(wire) "+e.IPv4.Addr().String(), "DHCPRELEASE(wire) ", e.IPv6.Addr().String())
	a.eventually("the server has no leases", func() bool { return !strings.Contains(s.read("leases"), "10.9.0.") })
}

func TestAbsentDHCPServerReturnsOneError(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	createDHCPNetwork(t, a, false)
	_, err := a.sandboxes.Create(context.Background(), onNetwork("lan", ""))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(),
		"network lan: no response from a DHCP server on lan0 within 10s") {
		t.Error(err)
	}
	if pins := a.pins(); len(pins) > 0 || len(a.sandboxes.List()) > 0 {
		t.Errorf("got pins %v, want none", pins)
	}
}

// shortTimers sets T1 and T2 to a few seconds. The shortest lease of dnsmasq lasts two minutes.
func shortTimers(args ...string) []string {
	return append([]string{"--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-option=option:T1,4s",
		"--dhcp-option=option:T2,8s"}, args...)
}

// acks returns how often the server acknowledged an IPv4 lease.
func (s *server) acks() int { return strings.Count(s.read("log"), "DHCPACK(wire)") }

func TestLeaseSurvivesRestarts(t *testing.T) {
	h := newHost(t)
	a := h.run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	s := lan.serve(shortTimers()...)
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	first := sb.Endpoints[0]
	var kept endpoint.Sandbox
	a.eventually("the lease is renewed", func() bool {
		kept, _ = a.sandboxes.Get(sb.Owner)
		return kept.Endpoints[0].Lease4.Expire.After(first.Lease4.Expire)
	})

	a.stop() // past T1 and T2
	s.stop()
	time.Sleep(time.Until(kept.Endpoints[0].Lease4.Rebind.Add(time.Second)))
	a = h.run()
	has(t, "the interface", a.in(sb, "ip", "addr", "show", "eth0"), first.IPv4.String())
	before := s.acks()
	s.start(shortTimers()...)
	a.eventually("the lease is rebound", func() bool { return s.acks() > before })
	if now, err := a.sandboxes.Get(sb.Owner); err != nil || now.Endpoints[0].IPv4 != first.IPv4 {
		t.Errorf("got %s, %v", now.Endpoints[0].IPv4, err)
	}

	a.mustReach(sb.NetnsPath, "10.9.0.1")
	a.release(sb)
	s.eventually("released", "DHCPRELEASE(wire) "+first.IPv4.Addr().String())
}

func TestRestartedContainerGetsHeldLease(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	s := lan.serve(shortTimers("--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")...)
	createDHCPNetwork(t, a, true)
	req := onNetwork("lan", "")
	first := a.create(req).Endpoints[0]
	if err := a.sandboxes.Release(context.Background(), req.Owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}

	others := a.create(onNetwork("lan", "")).Endpoints[0]
	second := a.create(req).Endpoints[0]
	if second.IPv4 != first.IPv4 || second.IPv6 != first.IPv6 || others.IPv4 == first.IPv4 ||
		second.MAC.String() != first.MAC.String() {
		t.Errorf("first %s %s, second %s %s", first.IPv4, first.IPv6, second.IPv4, second.IPv6)
	}
	if got := strings.Count(s.read("log"), "DHCPDISCOVER(wire)"); got != 2 {
		t.Errorf("got %d DHCPDISCOVER, want 2", got)
	}

	s.eventually("confirmed", "DHCPCONFIRM")
	if strings.Contains(s.read("log"), "DHCPRELEASE") {
		t.Error("a held lease was released")
	}

	// The container is removed while stopped: its held lease is released.
	if err := a.sandboxes.Release(context.Background(), req.Owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.sandboxes.Release(context.Background(), req.Owner, endpoint.ReleaseKeep{}); err != nil {
		t.Fatal(err)
	}

	s.eventually("released", "DHCPRELEASE(wire) "+first.IPv4.Addr().String())
	if held := a.store.Held(req.Owner); len(held) > 0 {
		t.Errorf("got held leases %v", held)
	}
}

func TestConflictingLeaseIsDeclined(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "10.9.0.50/32", "fd09::1/64", "fd09::150/128")
	networkID, req, ipv6 := id.New(), onNetwork("lan", ""), true
	s := lan.serve(shortTimers("--dhcp-host="+network.DHCPClientMAC(networkID,
		req.Owner).String()+",10.9.0.50,[fd09::150]",
		"--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")...)
	if _, err := a.networks.Create(context.Background(), network.Draft{ID: networkID, Name: "lan", Driver: "macvlan",
		IPAM: "dhcp", IPv6: &ipv6,
		Options: map[string]string{network.OptParent: "lan0"}}); err != nil {
		t.Fatal(err)
	}

	sb, err := a.sandboxes.Create(context.Background(), req)
	if err != nil {
		t.Log(s.read("log"))
		t.Fatal(err)
	}

	e := sb.Endpoints[0]
	s.eventually("declined", "DHCPDECLINE(wire) 10.9.0.50", "DHCPDECLINE(wire) 00:04")
	if !e.IPv4.IsValid() || e.IPv4.Addr().String() == "10.9.0.50" || !e.IPv6.IsValid() ||
		e.IPv6.Addr().String() == "fd09::150" {
		t.Errorf("got %s and %s", e.IPv4, e.IPv6)
	}
}

func TestStaticAddressRefusedByServerFails(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	s := lan.serve(shortTimers("--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")...)
	createDHCPNetwork(t, a, true)
	_, err := a.sandboxes.Create(context.Background(), onNetwork("lan", "10.9.0.9"))
	s.eventually("released", "DHCPREPLY(wire) fd09", "DHCPRELEASE(wire) 00:04")
	if !fault.Is(err, fault.Exists) ||
		!strings.Contains(err.Error(), "network lan: DHCP server on lan0 offered 10.9.0.") ||
		!strings.Contains(err.Error(), ", not 10.9.0.9") {
		t.Error(err)
	}
	if sb := a.create(onNetwork("lan", "10.9.0.55")); sb.Endpoints[0].IPv4.String() != "10.9.0.55/24" {
		t.Errorf("got %s", sb.Endpoints[0].IPv4)
	}
	if pins := a.pins(); len(pins) != 1 {
		t.Errorf("got pins %v, want 1", pins)
	}

	_, err = a.sandboxes.Create(context.Background(), endpoint.Request{Owner: strings.Repeat("a", 64),
		Mode:      endpoint.Private,
		Endpoints: []endpoint.Spec{{Network: "lan", IPv6: netip.MustParseAddr("fd08::9")}}})
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), ", not fd08::9") {
		t.Errorf("IPv6: got %v", err)
	}
}

// A lease that cannot be released after a failure is in the error.
func TestFailedReleaseAfterRefusalIsReported(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	six := lan.serve("--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	four := &fakeDHCP{seconds: 3600} // does not respond
	lan.serveFake(four)
	createDHCPNetwork(t, a, true)
	created := make(chan error, 1)
	go func() {
		_, err := a.sandboxes.Create(context.Background(), onNetwork("lan", "10.9.0.9"))
		created <- err
	}()
	six.eventually("granted", "DHCPREPLY(wire) fd09")
	six.stop()
	four.set(func(s *fakeDHCP) { s.address = "10.9.0.40" })

	err := <-created
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), "DHCP release failed on the LAN of lan0") {
		t.Errorf("got %v", err)
	}
	if pins := a.pins(); len(pins) != 0 {
		t.Errorf("got pins %v, want none", pins)
	}
}

func TestSLAACAddresses(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("fd09::1/64")
	lan.serve("--dhcp-range=fd09::,ra-only,64,120s", "--enable-ra", "--dhcp-option=option6:dns-server,[fd09::53]")
	off, on := false, true
	if _, err := a.networks.Create(context.Background(), network.Draft{Name: "lan", Driver: "macvlan", IPAM: "dhcp",
		IPv4: &off, IPv6: &on,
		Options: map[string]string{network.OptParent: "lan0"}}); err != nil {
		t.Fatal(err)
	}

	sb := a.create(onNetwork("lan", ""))
	e := sb.Endpoints[0]
	if e.IPv4.IsValid() || e.Lease6 == nil || e.Lease6.Protocol != "slaac" ||
		!netip.MustParsePrefix("fd09::/64").Contains(e.IPv6.Addr()) || e.IPv6.Bits() != 64 ||
		!e.Gateway6.IsLinkLocalUnicast() {
		t.Errorf("got %+v, lease %+v", e, e.Lease6)
	}

	a.mustReach(sb.NetnsPath, "fd09::1")
}

func TestInvalidDHCPRequestsFail(t *testing.T) {
	a := newHost(t).run()
	a.connectLAN()
	for name, c := range map[string]struct {
		want network.Draft
		text string
	}{
		"bridge": {network.Draft{Driver: "bridge", IPAM: "dhcp"},
			"ipam driver dhcp requires a network on a LAN"},
		"no parent": {network.Draft{Driver: "macvlan", IPAM: "dhcp"}, "requires a network on a LAN"},
		"subnet": {network.Draft{Driver: "macvlan", IPAM: "dhcp",
			Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}}}, "does not accept subnet"},
		"unknown driver": {network.Draft{Driver: "macvlan", IPAM: "dhpc"},
			`ipam driver "dhpc" not found; use default or dhcp`},
	} {
		c.want.Name, c.want.Options = "bad", map[string]string{}
		if c.want.Driver != "bridge" && name != "no parent" {
			c.want.Options[network.OptParent] = "lan0"
		}
		if _, err := a.networks.Create(context.Background(), c.want); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
