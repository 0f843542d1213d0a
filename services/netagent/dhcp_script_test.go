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

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// script is a DHCP server that does as the test says: dnsmasq grants nothing for less than two minutes.
type script struct {
	mu      sync.Mutex
	gives   string // the address; empty: it is silent
	seconds uint32
	naks    bool // it denies whatever is not its address of the moment
	asked   []dhcpv4.MessageType
	tells   []dhcpv4.Modifier // further options
}

func (s *script) set(change func(*script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *script) heard(kind dhcpv4.MessageType) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(s.asked), func(k dhcpv4.MessageType) bool { return k != kind }))
}

// play has a script answer on the LANDriver, as 10.9.0.1.
func (l *lan) play(s *script) {
	l.t.Helper()
	door, err := kernel.Open(l.Path())
	if err != nil {
		l.t.Fatal(err)
	}
	link, _, err := door.Link("wire")
	if err != nil {
		l.t.Fatal(err)
	}
	p, err := door.Packets(link.Index, kernel.FilterUDP(false, 67))
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
		door.Close()
	})
}

func (s *script) answer(u frame.UDP, mac net.HardwareAddr) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		return nil
	}
	s.asked = append(s.asked, msg.MessageType())
	kind := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck}[msg.MessageType()]
	if s.gives == "" || kind == 0 {
		return nil
	}
	wants := msg.RequestedIPAddress()
	if wants == nil {
		wants = msg.ClientIPAddr
	}
	if s.naks && kind == dhcpv4.MessageTypeAck && wants.String() != s.gives {
		kind = dhcpv4.MessageTypeNak
	}
	with := append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP(s.gives)), dhcpv4.WithLeaseTime(s.seconds),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 9, 0, 1)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 9, 0, 1)))},
		s.tells...)
	reply, err := dhcpv4.NewReplyFromRequest(msg, with...)
	if err != nil {
		return nil
	}
	return frame.UDP{FromMAC: mac, From: netip.MustParseAddrPort("10.9.0.1:67"), To: netip.MustParseAddrPort("255.255.255.255:68"), Payload: reply.ToBytes()}.Frame()
}

func (a *agent) addresses(sb network.Sandbox) string {
	return a.in(sb, "ip", "-4", "addr", "show", "eth0")
}

func TestExpiredLeaseRemovesAddress(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("10.9.0.1/24")
	s := &script{gives: "10.9.0.40", seconds: 6}
	lan.play(s)
	n := leasedLAN(t, a, false)
	a.ns.Run("ip", "addr", "add", "10.9.0.3/24", "dev", "lan0")
	sb := a.create(onNetwork("lan", ""))
	has(t, "the interface", a.addresses(sb), "10.9.0.40/24")
	a.eventually("it is renewed", func() bool { return s.heard(dhcpv4.MessageTypeRequest) >= 2 })

	s.set(func(s *script) { s.gives = "" })
	a.eventually("the address is off", func() bool { return !strings.Contains(a.addresses(sb), "10.9.0.40") })
	if now, err := a.sandboxes.Get(sb.Owner); err != nil || now.Endpoints[0].Lease4 != nil || now.Endpoints[0].IPv4.IsValid() || now.Endpoints[0].Gateway4.IsValid() {
		t.Errorf("is stored as %+v, %v", now.Endpoints[0], err)
	}
	if routes := a.in(sb, "ip", "route"); routes != "" {
		t.Errorf("routes are left: %s", routes)
	}

	// The server comes back and gives another: the container has it, the LANDriver and the host are told.
	four := lan.hear(kernel.FilterARP())
	s.set(func(s *script) { s.gives, s.seconds = "10.9.0.41", 3600 })
	a.eventually("another address is there", func() bool { return strings.Contains(a.addresses(sb), "10.9.0.41/24") })
	if !four.until(func(data []byte) bool {
		who, ok := frame.ConflictFrom(data, netip.MustParseAddr("10.9.0.41"))
		return ok && bytes.Equal(who, network.DHCPClientMAC(n.ID, sb.Owner))
	}) {
		t.Error("the LAN was not told")
	}
	a.eventually("the default route is there", func() bool { return strings.Contains(a.in(sb, "ip", "route"), "default via 10.9.0.1") })
	a.mustReach(sb.NetnsPath, "10.9.0.1")
	a.mustReach(a.ns.Path(), "10.9.0.41")
	if routes := a.ns.Run("ip", "route"); strings.Contains(routes, "10.9.0.40") {
		t.Errorf("the host still leads to the old one: %s", routes)
	}
	a.release(sb)
	a.eventually("it is given back", func() bool { return s.heard(dhcpv4.MessageTypeRelease) == 1 })
}

func TestDeniedLeaseIsReplaced(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("10.9.0.1/24")
	s := &script{gives: "10.9.0.40", seconds: 6, naks: true}
	lan.play(s)
	leasedLAN(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	s.set(func(s *script) { s.gives = "10.9.0.42" })
	a.eventually("the other address is there", func() bool {
		out := a.addresses(sb)
		return strings.Contains(out, "10.9.0.42/24") && !strings.Contains(out, "10.9.0.40")
	})
	a.mustReach(sb.NetnsPath, "10.9.0.1")

	// Back from a stop, its address was given to somebody else meanwhile.
	if err := a.sandboxes.Release(t.Context(), sb.Owner, network.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *script) { s.gives = "10.9.0.43" })
	req := network.Request{Owner: sb.Owner, Mode: network.Private, Endpoints: []network.EndpointSpec{{Network: "lan"}}}
	if got := a.create(req).Endpoints[0].IPv4.String(); got != "10.9.0.43/24" {
		t.Errorf("has %s", got)
	}
}

func TestAbsentDHCPServerKeepsHeldLease(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("10.9.0.1/24")
	s := &script{gives: "10.9.0.40", seconds: 3600}
	lan.play(s)
	leasedLAN(t, a, false)
	req := onNetwork("lan", "")
	a.create(req)
	if err := a.sandboxes.Release(t.Context(), req.Owner, network.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *script) { s.gives = "" })
	start := time.Now()
	sb := a.create(req)
	if got := sb.Endpoints[0].IPv4.String(); got != "10.9.0.40/24" || time.Since(start) > obtainable {
		t.Errorf("has %s after %s", got, time.Since(start))
	}
	a.mustReach(sb.NetnsPath, "10.9.0.1")
}

// obtainable is how long a container waits for a server at most.
const obtainable = 10 * time.Second
