package netagent

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// fakeDHCP is a DHCP server that the test controls. dnsmasq grants no lease shorter than two minutes.
type fakeDHCP struct {
	mu       sync.Mutex
	address  string // the address it grants; empty: it does not respond
	seconds  uint32
	deny     bool // it denies requests for other addresses than its current one
	requests []dhcpv4.MessageType
	options  []dhcpv4.Modifier // additional options
}

func (s *fakeDHCP) set(change func(*fakeDHCP)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *fakeDHCP) received(kind dhcpv4.MessageType) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(s.requests), func(k dhcpv4.MessageType) bool { return k != kind }))
}

// serveFake runs a server at 10.9.0.1 on the LAN.
func (l *lan) serveFake(s *fakeDHCP) {
	l.t.Helper()
	netns, err := kernel.Open(l.Path())
	if err != nil {
		l.t.Fatal(err)
	}

	link, _, err := netns.Link("wire")
	if err != nil {
		l.t.Fatal(err)
	}

	p, err := netns.Packets(link.Index, kernel.FilterUDP(false, 67))
	if err != nil {
		l.t.Fatal(err)
	}

	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, unsummed, err := p.Read(buf)
			if err != nil {
				return
			}
			if u, ok := frame.ReadUDP(buf[:n], unsummed); ok {
				if out := s.answer(u, link.MAC); out != nil {
					_ = p.Write(out)
				}
			}
		}
	}()

	l.t.Cleanup(func() {
		_ = p.Close()
		<-done
		netns.Close()
	})
}

func (s *fakeDHCP) answer(u frame.UDP, mac net.HardwareAddr) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		return nil
	}

	s.requests = append(s.requests, msg.MessageType())
	kind := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
		dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck}[msg.MessageType()]
	if s.address == "" || kind == 0 {
		return nil
	}

	wants := msg.RequestedIPAddress()
	if wants == nil {
		wants = msg.ClientIPAddr
	}
	if s.deny && kind == dhcpv4.MessageTypeAck && wants.String() != s.address {
		kind = dhcpv4.MessageTypeNak
	}

	with := append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP(s.address)),
		dhcpv4.WithLeaseTime(s.seconds),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 9, 0, 1)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 9, 0, 1)))},
		s.options...)
	reply, err := dhcpv4.NewReplyFromRequest(msg, with...)
	if err != nil {
		return nil
	}

	return frame.UDP{FromMAC: mac, From: netip.MustParseAddrPort("10.9.0.1:67"),
		To: netip.MustParseAddrPort("255.255.255.255:68"), Payload: reply.ToBytes()}.Frame()
}

func (a *agent) addresses(sb endpoint.Sandbox) string {
	return a.in(sb, "ip", "-4", "addr", "show", "eth0")
}

func TestExpiredLeaseRemovesAddress(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 6}
	lan.serveFake(s)
	n := createDHCPNetwork(t, a, false)
	a.ns.Run("ip", "addr", "add", "10.9.0.3/24", "dev", "lan0")
	sb := a.create(onNetwork("lan", ""))
	has(t, "the interface", a.addresses(sb), "10.9.0.40/24")
	a.eventually("the lease is renewed", func() bool { return s.received(dhcpv4.MessageTypeRequest) >= 2 })

	s.set(func(s *fakeDHCP) { s.address = "" })
	a.eventually("the address is removed", func() bool { return !strings.Contains(a.addresses(sb), "10.9.0.40") })
	if now, err := a.sandboxes.Get(sb.Owner); err != nil || now.Endpoints[0].Lease4 != nil ||
		now.Endpoints[0].IPv4.IsValid() || now.Endpoints[0].Gateway4.IsValid() {
		t.Errorf("got stored endpoint %+v, %v", now.Endpoints[0], err)
	}
	if routes := a.in(sb, "ip", "route"); routes != "" {
		t.Errorf("got routes %s, want none", routes)
	}

	// The server grants another address: the container gets it, and it is announced on the LAN.
	four := lan.capture(kernel.FilterARP())
	s.set(func(s *fakeDHCP) { s.address, s.seconds = "10.9.0.41", 3600 })
	a.eventually("the new address is applied", func() bool { return strings.Contains(a.addresses(sb), "10.9.0.41/24") })
	if !four.waitFor(func(data []byte) bool {
		who, ok := frame.ConflictFrom(data, netip.MustParseAddr("10.9.0.41"))
		return ok && bytes.Equal(who, network.DHCPClientMAC(n.ID, sb.Owner))
	}) {
		t.Error("the new address was not announced on the LAN")
	}

	a.eventually("the default route is restored", func() bool {
		return strings.Contains(a.in(sb, "ip", "route"), "default via 10.9.0.1")
	})

	a.mustReach(sb.NetnsPath, "10.9.0.1")
	a.mustReach(a.ns.Path(), "10.9.0.41")
	if routes := a.ns.Run("ip", "route"); strings.Contains(routes, "10.9.0.40") {
		t.Errorf("the host still has a route to the former address: %s", routes)
	}

	a.release(sb)
	a.eventually("the lease is released", func() bool { return s.received(dhcpv4.MessageTypeRelease) == 1 })
}

func TestDeniedLeaseIsReplaced(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 6, deny: true}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	s.set(func(s *fakeDHCP) { s.address = "10.9.0.42" })
	a.eventually("the new address replaces the former", func() bool {
		out := a.addresses(sb)
		return strings.Contains(out, "10.9.0.42/24") && !strings.Contains(out, "10.9.0.40")
	})

	a.mustReach(sb.NetnsPath, "10.9.0.1")

	// While the container was stopped, its address was granted to another client.
	if err := a.sandboxes.Release(t.Context(), sb.Owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}

	s.set(func(s *fakeDHCP) { s.address = "10.9.0.43" })
	req := endpoint.Request{Owner: sb.Owner, Mode: endpoint.Private, Endpoints: []endpoint.Spec{{Network: "lan"}}}
	if got := a.create(req).Endpoints[0].IPv4.String(); got != "10.9.0.43/24" {
		t.Errorf("got %s", got)
	}
}

func TestAbsentDHCPServerKeepsHeldLease(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 3600}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	req := onNetwork("lan", "")
	a.create(req)
	if err := a.sandboxes.Release(t.Context(), req.Owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}

	s.set(func(s *fakeDHCP) { s.address = "" })
	start := time.Now()
	sb := a.create(req)
	if got := sb.Endpoints[0].IPv4.String(); got != "10.9.0.40/24" || time.Since(start) > maxDHCPWait {
		t.Errorf("got %s after %s", got, time.Since(start))
	}

	a.mustReach(sb.NetnsPath, "10.9.0.1")
}

// maxDHCPWait limits how long a container waits for a DHCP server.
const maxDHCPWait = time.Minute
