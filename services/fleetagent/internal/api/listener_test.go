package api

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
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
}

func serve(t *testing.T, g *gate, handshake time.Duration) served {
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := Hosts{TLS: pki.ServerConfig(authority.Cert, func() *tls.Certificate { return own }, false, time.Now),
		Log: slog.New(slog.DiscardHandler), Gate: g, HandshakeTime: handshake,
		Identify: func(s tls.ConnectionState) (pki.Identity, error) {
			return pki.PeerIdentity(s, authority.Cert, time.Now())
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	config := func(cert *tls.Certificate) *tls.Config {
		return pki.ClientConfig(authority.Cert, func() *tls.Certificate { return cert }, pki.Expected{}, time.Now)
	}
	return served{l.Addr().String(), config(other), config(nil)}
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
	var silent []net.Conn
	for range maxHandshakesEach + 1 {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		silent = append(silent, conn)
	}
	for _, conn := range silent { // one of them immediately, the others after the limit
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("got data on a connection without a handshake")
		}
	}
	if _, err := s.client(t, s.host).Renew(t.Context(), &fleetv1.RenewRequest{}); err != nil {
		t.Errorf("a host afterwards: %v", err)
	}
}

func TestSourcesAreHosts(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.7:1000": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32",
		"[2001:db8::7]:1": "2001:db8::/64", "[fe80::1%eth0]:1": "fe80::/64"} {
		if got := sourceOf(remote{netip.MustParseAddrPort(text)}); got.String() != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// remote is a connection with an address.
type remote struct{ address netip.AddrPort }

func (r remote) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(r.address) }
