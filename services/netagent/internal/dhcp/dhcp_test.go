package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

var (
	clientMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 1}
	serverMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 9}
	linkLocal = netip.MustParseAddr("fe80::1")
)

func client() lease.Identity {
	return lease.IdentityOf("00112233445566778899aabbccddeeff", "deadbeef", "Web", clientMAC)
}

// wire simulates a server: it returns replies for each written frame.
type wire struct {
	server  func(frame.UDP) [][]byte
	written []frame.UDP
	waiting [][]byte

	mu    sync.Mutex
	until time.Time
}

func (w *wire) Write(data []byte) error {
	u, ok := frame.ReadUDP(data, false)
	if !ok {
		return os.ErrInvalid
	}
	w.written = append(w.written, u)
	if w.server != nil {
		w.waiting = append(w.waiting, w.server(u)...)
	}
	return nil
}

func (w *wire) Read(buf []byte) (int, bool, error) {
	if len(w.waiting) == 0 {
		w.mu.Lock()
		until := w.until
		w.mu.Unlock()
		time.Sleep(time.Until(until))
		return 0, false, os.ErrDeadlineExceeded
	}
	n := copy(buf, w.waiting[0])
	w.waiting = w.waiting[1:]
	return n, false, nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = t
	return nil
}

// reply4 encodes a reply to a client message, changed by with.
func reply4(t testing.TB, u frame.UDP, kind dhcpv4.MessageType, with ...dhcpv4.Modifier) []byte {
	t.Helper()
	msg, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 10)),
		dhcpv4.WithLeaseTime(100),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 0,
			1)), dhcpv4.WithDNS(net.IPv4(10, 0, 0, 53)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 2)))}, with...)
	r, err := dhcpv4.NewReplyFromRequest(msg, all...)
	if err != nil {
		t.Fatal(err)
	}
	return frame.UDP{FromMAC: serverMAC, From: netip.MustParseAddrPort("10.0.0.2:67"),
		To: netip.MustParseAddrPort("255.255.255.255:68"), Payload: r.ToBytes()}.Frame()
}

func read4(t testing.TB, u frame.UDP) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRunV4AcquiresLease(t *testing.T) {
	w := &wire{server: func(u frame.UDP) [][]byte {
		if read4(t, u).MessageType() == dhcpv4.MessageTypeDiscover {
			return [][]byte{reply4(t, u, dhcpv4.MessageTypeOffer)}
		}
		return [][]byte{reply4(t, u, dhcpv4.MessageTypeAck)}
	}}
	m := lease.NewInit(time.Now(), netip.Addr{}, netip.MustParseAddr("10.0.0.7"))
	event, err := RunV4(context.Background(), w, client(), m, time.Now().Add(5*time.Second))
	if event != lease.Granted || err != nil || len(w.written) != 2 {
		t.Fatalf("event %d, %v, %d frames", event, err, len(w.written))
	}
	got := m.Terms
	if got.Address.String() != "10.0.0.10/24" || got.Router.String() != "10.0.0.1" ||
		got.ServerAddr().String() != "10.0.0.2" || !bytes.Equal(got.ServerMAC, serverMAC) ||
		len(got.Servers) != 1 || got.Expire.Sub(got.Granted) != 100*time.Second ||
		got.Renew.Sub(got.Granted) != 50*time.Second {
		t.Errorf("got terms %+v", got)
	}
	discover, request := read4(t, w.written[0]), read4(t, w.written[1])
	for _, d := range []*dhcpv4.DHCPv4{discover, request} {
		if !d.IsBroadcast() || !bytes.Equal(d.Options.Get(dhcpv4.OptionClientIdentifier), client().ClientID()) ||
			d.HostName() != "web" || !bytes.Equal(d.ClientHWAddr, clientMAC) {
			t.Errorf("got request %s", d.Summary())
		}
	}
	if discover.RequestedIPAddress().String() != "10.0.0.7" ||
		request.RequestedIPAddress().String() != "10.0.0.10" || request.ServerIdentifier().String() != "10.0.0.2" {
		t.Errorf("discover requests %s, request selects %s of server %s", discover.RequestedIPAddress(),
			request.RequestedIPAddress(), request.ServerIdentifier())
	}
	if u := w.written[0]; u.From.String() != "0.0.0.0:68" || u.To.String() != "255.255.255.255:67" {
		t.Errorf("got source %s, destination %s", u.From, u.To)
	}
}

// requestOf returns the request of a client with a lease of 100 seconds, since after the grant.
func requestOf(t *testing.T, had lease.Terms, since time.Duration, again bool) frame.UDP {
	t.Helper()
	w := &wire{}
	had = had.For(time.Now().Add(-since), 100, 0, 0)
	m := lease.NewBound(had, netip.Addr{})
	if again {
		m = lease.NewReboot(time.Now(), had, netip.Addr{})
	}
	limit := time.Now().Add(50 * time.Millisecond)
	if had.Protocol == lease.ByDHCPv6 {
		_, _ = RunV6(context.Background(), w, client(), linkLocal, nil, m, limit)
	} else {
		_, _ = RunV4(context.Background(), w, client(), m, limit)
	}
	if len(w.written) != 1 {
		t.Fatalf("%d frames in %s", len(w.written), m.State)
	}
	return w.written[0]
}

func TestRunV4RenewsThenRebinds(t *testing.T) {
	had := lease.Terms{Protocol: lease.ByDHCP, Address: netip.MustParsePrefix("10.0.0.10/24"),
		Server: []byte{10, 0, 0, 2}, ServerMAC: serverMAC}
	renew, rebind := requestOf(t, had, 60*time.Second, false), requestOf(t, had, 90*time.Second, false)
	reboot := requestOf(t, had, time.Second, true)
	if renew.From.String() != "10.0.0.10:68" || renew.To.String() != "10.0.0.2:67" ||
		rebind.From.String() != "10.0.0.10:68" || rebind.To.String() != "255.255.255.255:67" ||
		reboot.From.String() != "0.0.0.0:68" {
		t.Errorf("renew %s > %s, rebind %s > %s, reboot from %s", renew.From, renew.To, rebind.From, rebind.To,
			reboot.From)
	}
	for name, u := range map[string]frame.UDP{"renewing": renew, "rebinding": rebind} {
		m := read4(t, u)
		if m.MessageType() != dhcpv4.MessageTypeRequest || m.ClientIPAddr.String() != "10.0.0.10" ||
			m.RequestedIPAddress() != nil || m.ServerIdentifier() != nil || m.IsBroadcast() {
			t.Errorf("%s: %s", name, m.Summary())
		}
	}
	if m := read4(t, reboot); m.RequestedIPAddress().String() != "10.0.0.10" || !m.ClientIPAddr.IsUnspecified() ||
		m.ServerIdentifier() != nil {
		t.Errorf("rebooting: %s", m.Summary())
	}
	release, ok := frame.ReadUDP(Release4(client(), had), false)
	if m := read4(t, release); !ok || m.MessageType() != dhcpv4.MessageTypeRelease ||
		m.ClientIPAddr.String() != "10.0.0.10" || release.To.String() != "10.0.0.2:67" {
		t.Errorf("release to %s: %s", release.To, m.Summary())
	}
	decline, _ := frame.ReadUDP(Decline4(client(), had), false)
	if m := read4(t, decline); m.MessageType() != dhcpv4.MessageTypeDecline ||
		m.RequestedIPAddress().String() != "10.0.0.10" || decline.To.String() != "255.255.255.255:67" {
		t.Errorf("decline to %s: %s", decline.To, m.Summary())
	}
}

func TestInvalidRepliesAreIgnored(t *testing.T) {
	ask := frame.UDP{}
	w := &wire{server: func(u frame.UDP) [][]byte { ask = u; return nil }}
	f := &v4Exchange{who: client(), xid: 7}
	_ = w.Write(f.request(lease.NewInit(time.Now(), netip.Addr{}, netip.Addr{})))
	with := func(m dhcpv4.Modifier) []byte { return reply4(t, ask, dhcpv4.MessageTypeOffer, m) }
	for name, data := range map[string][]byte{
		"other transaction":   with(dhcpv4.WithTransactionID(dhcpv4.TransactionID{9})),
		"to another client":   with(dhcpv4.WithHwAddr(serverMAC)),
		"to another identity": with(dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte{1, 2}))),
		"without an address":  with(dhcpv4.WithYourIP(net.IPv4zero)),
		"a broadcast address": with(dhcpv4.WithYourIP(net.IPv4bcast)),
		"loopback":            with(dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1))),
		"no lease time":       with(dhcpv4.WithoutOption(dhcpv4.OptionIPAddressLeaseTime)),
		"no server":           with(dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)),
		"a mask of nothing":   with(dhcpv4.WithNetmask(net.CIDRMask(0, 32))),
		"a mask with holes":   with(dhcpv4.WithNetmask(net.IPMask{255, 0, 255, 0})),
		"a request":           with(func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest }),
		"an inform":           reply4(t, ask, dhcpv4.MessageTypeInform),
	} {
		if a, ok := f.answer(data, false, nil); ok {
			t.Errorf("%s: %+v", name, a)
		}
	}
	far := with(dhcpv4.WithRouter(net.IPv4(172, 16, 0, 1)))
	if a, ok := f.answer(far, false, nil); !ok || a.Terms.Router.IsValid() {
		t.Errorf("no router: %v %s", ok, a.Terms.Router)
	}
	_, everything, _ := net.ParseCIDR("0.0.0.0/0")
	routed := with(dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: everything,
		Router: net.IPv4(10, 0, 0, 254)})))
	if a, ok := f.answer(routed, false, nil); !ok || a.Terms.Router.String() != "10.0.0.254" {
		t.Errorf("default route: %v %s", ok, a.Terms.Router)
	}
}

// reply6 encodes a reply to a client message with an address or a status.
func reply6(t testing.TB, u frame.UDP, kind dhcpv6.MessageType, status iana.StatusCode, addr string) []byte {
	t.Helper()
	msg, err := dhcpv6.MessageFromBytes(u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	r := &dhcpv6.Message{MessageType: kind, TransactionID: msg.TransactionID}
	r.AddOption(dhcpv6.OptClientID(msg.Options.ClientID()))
	r.AddOption(dhcpv6.OptServerID(&dhcpv6.DUIDOpaque{Type: 4, Data: bytes.Repeat([]byte{9}, 16)}))
	ia := &dhcpv6.OptIANA{IaId: msg.Options.OneIANA().IaId}
	if addr != "" {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(addr), PreferredLifetime: 80 * time.Second,
			ValidLifetime: 100 * time.Second})
	}
	if status != iana.StatusSuccess {
		ia.Options.Add(&dhcpv6.OptStatusCode{StatusCode: status})
	}
	r.AddOption(ia)
	return frame.UDP{FromMAC: serverMAC, From: netip.MustParseAddrPort("[fe80::9]:547"),
		To: netip.AddrPortFrom(linkLocal, 546), Payload: r.ToBytes()}.Frame()
}

func TestRunV6AcquiresLease(t *testing.T) {
	var kinds []dhcpv6.MessageType
	w := &wire{server: func(u frame.UDP) [][]byte {
		msg, err := dhcpv6.MessageFromBytes(u.Payload)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, msg.MessageType)
		if ia := msg.Options.OneIANA(); binary.BigEndian.Uint32(ia.IaId[:]) != 0xdeadbeef ||
			!bytes.Equal(msg.Options.ClientID().ToBytes(), client().DUID) ||
			(msg.Options.ServerID() == nil) != (msg.MessageType == dhcpv6.MessageTypeSolicit) {
			t.Errorf("got request %s", msg.Summary())
		}
		if msg.MessageType == dhcpv6.MessageTypeSolicit {
			return [][]byte{reply6(t, u, dhcpv6.MessageTypeAdvertise, iana.StatusNoAddrsAvail, ""),
				reply6(t, u, dhcpv6.MessageTypeAdvertise, iana.StatusSuccess, "fd00::10")}
		}
		return [][]byte{reply6(t, u, dhcpv6.MessageTypeReply, iana.StatusSuccess, "fd00::10")}
	}}
	router := &frame.Router{Addr: netip.MustParseAddr("fe80::9"), Lifetime: time.Hour, MTU: 1400,
		Prefixes: []frame.Prefix{{Prefix: netip.MustParsePrefix("fd00::/64"),
			OnLink: true}}, Servers: []netip.Addr{netip.MustParseAddr("fd00::53")}}
	m := lease.NewInit(time.Now(), netip.Addr{}, netip.Addr{})
	event, err := RunV6(context.Background(), w, client(), linkLocal, router, m, time.Now().Add(5*time.Second))
	got := m.Terms
	if event != lease.Granted || err != nil || len(kinds) != 2 || kinds[1] != dhcpv6.MessageTypeRequest {
		t.Fatalf("event %d, %v, %v", event, err, kinds)
	}
	if got.Address.String() != "fd00::10/64" || got.Router != router.Addr || got.MTU != 1400 ||
		len(got.Servers) != 1 || got.Renew.Sub(got.Granted) != 40*time.Second ||
		got.Expire.Sub(got.Granted) != 100*time.Second || got.Client != linkLocal {
		t.Errorf("got terms %+v", got)
	}
	for since, want := range map[time.Duration]dhcpv6.MessageType{60 * time.Second: dhcpv6.MessageTypeRenew,
		90 * time.Second: dhcpv6.MessageTypeRebind} {
		msg, err := dhcpv6.MessageFromBytes(requestOf(t, got, since, false).Payload)
		if err != nil || msg.MessageType != want ||
			(msg.Options.ServerID() != nil) != (want == dhcpv6.MessageTypeRenew) {
			t.Errorf("after %s: %v %s", since, err, msg.Summary())
		}
	}
	if msg, err := dhcpv6.MessageFromBytes(requestOf(t, got, time.Second, true).Payload); err != nil ||
		msg.MessageType != dhcpv6.MessageTypeConfirm {
		t.Errorf("confirm: %v %s", err, msg.Summary())
	}
}

func TestNoBindingStatusEndsLease(t *testing.T) {
	had := lease.Terms{Protocol: lease.ByDHCPv6, Address: netip.MustParsePrefix("fd00::10/64"),
		Server: append([]byte{0, 4}, bytes.Repeat([]byte{9}, 16)...)}
	for _, status := range []iana.StatusCode{iana.StatusNoBinding, iana.StatusNotOnLink} {
		w := &wire{server: func(u frame.UDP) [][]byte {
			return [][]byte{reply6(t, u, dhcpv6.MessageTypeReply, status, "")}
		}}
		m := lease.NewBound(had.For(time.Now().Add(-time.Minute), 100, 0, 0), netip.Addr{})
		if event, err := RunV6(context.Background(), w, client(), linkLocal, nil, m,
			time.Now().Add(time.Second)); event != lease.Lost || err != nil || m.State != lease.Selecting {
			t.Errorf("%s: event %d, %v, %s", status, event, err, m.State)
		}
	}
}

func TestExchangeStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := RunV4(ctx, &wire{}, client(), lease.NewInit(start, netip.Addr{}, netip.Addr{}), start.Add(time.Minute))
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func FuzzReplies(f *testing.F) {
	w := &wire{}
	four := &v4Exchange{who: client(), xid: 7}
	_ = w.Write(four.request(lease.NewInit(time.Now(), netip.Addr{}, netip.Addr{})))
	six := newSix(client(), linkLocal, nil)
	_ = w.Write(six.request(lease.NewInit(time.Now(), netip.Addr{}, netip.Addr{})))
	offer, _ := frame.ReadUDP(reply4(f, w.written[0], dhcpv4.MessageTypeOffer), false)
	advertise, _ := frame.ReadUDP(reply6(f, w.written[1], dhcpv6.MessageTypeAdvertise, iana.StatusSuccess,
		"fd00::10"), false)
	f.Add(offer.Payload, advertise.Payload)
	options, _ := frame.ReadUDP(reply4(f, w.written[0], dhcpv4.MessageTypeOffer,
		raw4(121, 12, 172, 16, 10, 0, 0, 3, 24, 192, 168, 7, 0, 0, 0, 0),
		raw4(119, 3, 'e', 'n', 'g', 3, 'l', 'a', 'n', 0, 1, 'x', 0xc0, 4), raw4(15, 'a', '\n', 'b')), false)
	f.Add(options.Payload, advertise.Payload)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 1400 || len(b) > 1400 {
			return
		}
		u4 := frame.UDP{FromMAC: serverMAC, From: offer.From, To: offer.To, Payload: a}
		if got, ok := four.answer(u4.Frame(), false, nil); ok && got.Kind != lease.Nak &&
			(!got.Terms.Address.Addr().Is4() || got.Terms.Granted.IsZero()) {
			t.Errorf("%+v", got)
		} else {
			harmless(t, got.Terms)
		}
		u6 := frame.UDP{FromMAC: serverMAC, From: advertise.From, To: advertise.To, Payload: b}
		got, _ := six.answer(u6.Frame(), false, &lease.Client{State: lease.Selecting})
		harmless(t, got.Terms)
	})
}

// harmless checks that parsed values can be written to files and added as routes.
func harmless(t *testing.T, got lease.Terms) {
	t.Helper()
	for _, s := range got.Search {
		if s == "" || len(s) > 253 || strings.Trim(s,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || strings.Contains(s, "..") {
			t.Errorf("search domain %q", s)
		}
	}
	for _, r := range got.Routes {
		if r.To != r.To.Masked() || r.To.Bits() == 0 || r.To.Addr().IsLoopback() || r.To.Addr().IsMulticast() ||
			r.Via == got.Address.Addr() {
			t.Errorf("route to %s", r)
		}
	}
	if len(got.Search) > 16 || len(got.Routes) > 64 {
		t.Errorf("%d search domains and %d routes", len(got.Search), len(got.Routes))
	}
}
