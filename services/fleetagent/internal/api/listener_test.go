package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// served is a listener with a client that has a certificate and one that has none.
type served struct {
	address       string
	host, unknown *tls.Config
	server        *tls.Config
	identify      func(tls.ConnectionState) (pki.Identity, error)
}

func newServed(t *testing.T) served {
	t.Helper()
	authority, err := pki.NewAuthority("f1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	certificate := func(role pki.Role, host string) *tls.Certificate {
		key, cert, err := authority.Issue(pki.Identity{Fleet: "f1", Role: role, Host: host}, local, time.Hour,
			time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{cert.Raw, authority.Cert.Raw}, PrivateKey: key, Leaf: cert}
	}
	own, other := certificate(pki.Manager, "0000000000000001"), certificate(pki.Member, "0000000000000002")
	config := func(cert *tls.Certificate) *tls.Config {
		return pki.ClientConfig(authority.Cert, func() *tls.Certificate { return cert }, pki.Expected{}, time.Now)
	}
	return served{host: config(other), unknown: config(nil),
		server: pki.ServerConfig(authority.Cert, func() *tls.Certificate { return own }, false, time.Now),
		identify: func(s tls.ConnectionState) (pki.Identity, error) {
			return pki.PeerIdentity(s, authority.Cert, time.Now())
		}}
}

func serve(t *testing.T, g *gate, handshake time.Duration) served {
	t.Helper()
	s := newServed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := Hosts{TLS: s.server, Log: slog.New(slog.DiscardHandler), Gate: g, HandshakeTime: handshake,
		Identify: s.identify}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.address = l.Addr().String()
	return s
}

func (s served) client(t *testing.T, config *tls.Config) fleetv1.EnrollServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return fleetv1.NewEnrollServiceClient(conn)
}

func TestUnknownClientsSendSmallRequestsOnly(t *testing.T) {
	g := &gate{}
	s := serve(t, g, 0)
	large := make([]byte, joinRequest+1)
	unknown, host := s.client(t, s.unknown), s.client(t, s.host)
	request := &fleetv1.EnrollRequest{Secret: make([]byte, 32)}
	if _, err := unknown.Enroll(t.Context(), request); err != nil && status.Code(err) == codes.ResourceExhausted {
		t.Errorf("small request: %v", err)
	}
	_, err := unknown.Enroll(t.Context(), &fleetv1.EnrollRequest{Secret: large})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("large request without a certificate: got error %v", err)
	}
	if _, err := unknown.Renew(t.Context(), &fleetv1.RenewRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("request without a certificate: got error %v", err)
	}
	if _, err := host.Renew(t.Context(), &fleetv1.RenewRequest{CertificateRequest: large}); err != nil {
		t.Errorf("large request of a host: %v", err)
	}
}

func TestUnknownClientsHaveFewConnections(t *testing.T) {
	s := serve(t, &gate{}, 0)
	for range maxJoiningEach {
		conn, err := tls.Dial("tcp", s.address, s.unknown)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 9)); err != nil { // the settings of the server: it is counted
			t.Fatal(err)
		}
	}
	conn, err := tls.Dial("tcp", s.address, s.unknown)
	if err == nil { // with TLS 1.3 the client has finished first
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 9))
	}
	if err == nil {
		t.Errorf("got connection %d of one unknown client accepted", maxJoiningEach+1)
	}
	if _, err := s.client(t, s.host).Renew(t.Context(), &fleetv1.RenewRequest{}); err != nil {
		t.Errorf("a host meanwhile: %v", err)
	}
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	s := serve(t, &gate{}, 200*time.Millisecond)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("got data on a connection without a handshake")
	}
}

func TestSilentConnectionsAreFew(t *testing.T) {
	s := serve(t, &gate{}, time.Hour)
	silent := dialEach(t, s.address, maxHandshakesEach+1)
	last := silent[maxHandshakesEach]
	_ = last.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v for one connection too many", err)
	}
	for _, conn := range silent[:maxHandshakesEach] {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got error %v for one of the connections that are allowed", err)
		}
		_ = conn.Close()
	}
	ready := grpc.WaitForReady(true)
	if _, err := s.client(t, s.host).Renew(t.Context(), &fleetv1.RenewRequest{}, ready); err != nil {
		t.Errorf("a host afterwards: %v", err)
	}
}

// TestConnectionsEndWithTheServer: connections are closed at any step: in the handshake, after it, or while they
// wait for a server.
func TestConnectionsEndWithTheServer(t *testing.T) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := newServed(t)
		d := divide(l, s.server, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.run(ctx, l) }()
		all := dialEach(t, l.Addr().String(), maxHandshakesEach)
		for _, conn := range all[:maxJoiningEach] { // the server closes at some step of theirs
			go func() { _ = tls.Client(conn, s.unknown).Handshake() }()
		}
		cancel()
		if err := errors.Join(d.known.Close(), d.joining.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		<-done
		if *d.handshakes.total != 0 || *d.unknown.total != 0 || len(d.joining.conns) != 0 {
			t.Fatalf("left: %d handshakes, %d connections, %d of them in the queue", *d.handshakes.total,
				*d.unknown.total, len(d.joining.conns))
		}
	}
}

// dialEach opens connections that send nothing.
func dialEach(t *testing.T, address string, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		all = append(all, conn)
	}
	return all
}

func TestSourcesAreAddressesAndNetworks(t *testing.T) {
	for text, want := range map[string][2]string{"192.0.2.7:1000": {"192.0.2.7/32", "invalid Prefix"},
		"[::ffff:192.0.2.7]:1": {"192.0.2.7/32", "invalid Prefix"},
		"[2001:db8::7]:1":      {"2001:db8::7/128", "2001:db8::/64"},
		"[fe80::1%eth0]:1":     {"fe80::1/128", "fe80::/64"}} {
		address, network := sourceOf(remote{netip.MustParseAddrPort(text)})
		if got := [2]string{address.String(), network.String()}; got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestHostsOfOneNetworkAreServed: a host that fills its own share leaves that of its neighbours.
func TestHostsOfOneNetworkAreServed(t *testing.T) {
	l := newLimiter(10, 6, 2)
	var release []func()
	take := func(address string) bool {
		free, ok := l.take(remote{netip.AddrPortFrom(netip.MustParseAddr(address), 7)})
		release = append(release, free)
		return ok
	}
	for _, c := range []struct {
		address string
		want    bool
	}{{"2001:db8::1", true}, {"2001:db8::1", true}, {"2001:db8::1", false}, // its share
		{"2001:db8::2", true}, {"2001:db8::2", true}, {"2001:db8::3", true}, {"2001:db8::4", true},
		{"2001:db8::5", false}, // that of the network
		{"2001:db8:0:1::1", true}, {"192.0.2.1", true}, {"192.0.2.2", true}, {"192.0.2.3", true},
		{"192.0.2.4", false}} { // all
		if got := take(c.address); got != c.want {
			t.Errorf("%s: got %t, want %t", c.address, got, c.want)
		}
	}
	for _, free := range release {
		if free != nil {
			free()
			free()
		}
	}
	if *l.total != 0 || len(l.sources) != 0 {
		t.Errorf("left: %d, %v", *l.total, l.sources)
	}
}

// remote is a connection with an address.
type remote struct{ address netip.AddrPort }

func (r remote) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(r.address) }
