package netagent

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

func TestContainersIgnoreRouterAdvertisements(t *testing.T) {
	h := newHost(t)
	h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64")
	a := h.run()
	show := func(sb endpoint.Sandbox) string {
		return strings.Join(strings.Fields(a.in(sb, "sysctl", "-n", "net.ipv6.conf.eth0.accept_ra",
			"net.ipv6.conf.eth0.autoconf",
			"net.ipv6.conf.eth0.accept_redirects", "net.ipv4.conf.eth0.accept_redirects",
			"net.ipv4.conf.all.accept_redirects")), " ")
	}
	if got := show(a.container()); got != "0 0 0 0 0" {
		t.Errorf("got %s, want zeros", got)
	}

	requested := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
		Endpoints: []endpoint.Spec{{Network: "bridge", Sysctls: acceptRA(true)}}})
	if got := show(requested); got != "1 1 0 0 0" {
		t.Errorf("got %s, want the requested sysctls", got)
	}
}

func TestAllowedAddressesPass(t *testing.T) {
	a := newHost(t).run()
	router := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
		Endpoints: []endpoint.Spec{{Network: "bridge",
			Allowed: []netip.Prefix{netip.MustParsePrefix("10.80.0.0/16"), netip.MustParsePrefix("172.17.200.0/24")}}}})
	a.in(router, "ip", "addr", "add", "10.80.3.3/32", "dev", "eth0")
	a.in(router, "ip", "addr", "add", "172.17.200.9/32", "dev", "eth0")
	a.ns.Run("ip", "route", "add", "10.80.0.0/16", "via", a.address(router))
	a.mustReach(a.ns.Path(), "10.80.3.3")
	a.mustReach(a.ns.Path(), "172.17.200.9") // the container responds to ARP for it
	other := a.container()
	a.in(other, "ip", "addr", "add", "172.17.0.99/32", "dev", "eth0")
	if a.reachesWithin(a.ns.Path(), "172.17.0.99", 500*time.Millisecond) {
		t.Error("an address that was not allocated is reached")
	}
}

func TestInternalContainersReachOnlyTheirBridge(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		h := newHost(t)
		h.cfg.unguarded = !guarded
		a := h.run()
		a.ns.Run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
		a.ns.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		a.ns.Run("ip", "link", "set", "up0", "up")
		if _, err := a.networks.Create(context.Background(), network.Draft{Name: "apart", Internal: true}); err != nil {
			t.Fatal(err)
		}
		sb := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{{Network: "apart"}}})
		gateway := sb.Endpoints[0].IPv4.Masked().Addr().Next().String()
		a.in(sb, "ip", "route", "add", "192.0.2.1", "via", gateway) // raw frames do not need it
		a.mustReach(sb.NetnsPath, gateway)
		if got := a.reachesWithin(sb.NetnsPath, "192.0.2.1", time.Second); got == guarded {
			t.Errorf("guarded %v: another address of the host is reachable: %v", guarded, got)
		}
	}
}

// scan sends a datagram to 20 addresses of each prefix.
func scan(from *testns.NS, prefixes ...string) {
	from.Do(func() {
		for _, p := range prefixes {
			for i := range 20 {
				if c, err := net.Dial("udp", net.JoinHostPort(fmt.Sprint(p, i+1), "9")); err == nil {
					_, _ = c.Write([]byte("?"))
					_ = c.Close()
				}
			}
		}
	})
}

func TestLANScansCreateNoNeighbourEntries(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		h := newHost(t)
		h.cfg.unguarded = !guarded
		h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64")
		a := h.run()
		lan := testns.New(t)
		testns.Connect(t, a.ns, "up0", "192.0.2.1/24 2001:db8::1/64", lan, "eth0", "192.0.2.2/24 2001:db8::2/64")
		lan.Run("ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
		lan.Run("ip", "route", "add", "fd00:7::/64", "via", "2001:db8::1")
		a.ns.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
		sb := a.container()
		a.mustReach(lan.Path(), a.address(sb))
		a.mustReach(lan.Path(), sb.Endpoints[0].IPv6.Addr().String())
		scan(lan, "172.17.5.", "fd00:7::5:")
		count := func() int {
			out := a.ns.Run("ip", "neigh", "show", "dev", "docker0")
			return strings.Count(out, "172.17.5.") + strings.Count(out, "fd00:7::5:")
		}
		if guarded {
			time.Sleep(300 * time.Millisecond)
			if n := count(); n > 0 {
				t.Errorf("got %d neighbour entries, want 0", n)
			}
			continue
		}
		a.eventually("the scan fills the neighbour table", func() bool { return count() > 20 })
	}
}

// routerAdvertisement returns a frame that advertises a prefix for SLAAC (RFC 4861, section 4.2).
func routerAdvertisement(mac net.HardwareAddr, prefix netip.Prefix) []byte {
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	message = append(message, mac...)
	message = append(message, 3, 4, byte(prefix.Bits()), 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0)
	message = append(message, prefix.Addr().AsSlice()...)
	from, to := portguard.LinkLocal(mac), netip.MustParseAddr("ff02::1")
	head := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	total := uint32(0)
	for _, b := range [][]byte{head, message} {
		for i := 0; i < len(b); i += 2 {
			total += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}

	total = total>>16 + total&0xffff
	binary.BigEndian.PutUint16(message[2:], ^uint16(total+total>>16))
	packet := append([]byte{0x60, 0, 0, 0, 0, byte(len(message)), 58, 255}, from.AsSlice()...)
	packet = append(append(packet, to.AsSlice()...), message...)
	return append(append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...), append([]byte{0x86, 0xdd}, packet...)...)
}

func TestListedAttacksHaveTests(t *testing.T) {
	list, err := os.ReadFile("THREATS.md")
	if err != nil {
		t.Fatal(err)
	}

	var source []byte
	for _, name := range []string{"attacks_test.go", "guard_rules_test.go"} {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, part...)
	}

	rows := 0
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "| A ") && !strings.HasPrefix(line, "| The ") &&
			!strings.HasPrefix(line, "| VLAN ") {
			continue
		}
		rows++
		named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("no test named in row %s", line)
		}
		for _, n := range named {
			if !strings.Contains(string(source), "func "+n[1]+"(") {
				t.Errorf("test %s does not exist", n[1])
			}
		}
	}
	if rows < 12 {
		t.Errorf("got %d rows, want 12 or more", rows)
	}
}
