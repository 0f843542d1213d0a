package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// gate is a fake of Gatekeeper that records the calls.
type gate struct {
	Gatekeeper
	calls []string
	fails error
}

func (g *gate) call(words ...string) error {
	g.calls = append(g.calls, strings.Join(words, " "))
	return g.fails
}

func (g *gate) Claim(_ context.Context, c ledger.Caller, network string, subnet, exact netip.Prefix) (
	*fleetv1.OverlayBlock, error) {
	err := g.call("claim", c.Host, network, subnet.String(), exact.String())
	return &fleetv1.OverlayBlock{Prefix: "10.1.0.0/29"}, err
}

func (g *gate) Give(_ context.Context, c ledger.Caller, network string, p netip.Prefix, to string) error {
	return g.call("give", c.Host, network, p.String(), to)
}

func (g *gate) Confirm(_ context.Context, c ledger.Caller, network string) error {
	return g.call("confirm", c.Host, network)
}

func (g *gate) Dismiss(_ context.Context, who pki.Identity) error { return g.call("dismiss", who.Host) }

func (g *gate) Enroll(context.Context, [token.SecretLen]byte, Joining) (*fleetv1.Host, *x509.Certificate, Access,
	error) {
	return &fleetv1.Host{}, &x509.Certificate{Raw: []byte("raw")}, Access{URLs: []string{"url"}}, g.call("enroll")
}

func (g *gate) Renew(context.Context, pki.Identity, []byte) (*x509.Certificate, Access, error) {
	return &x509.Certificate{Raw: []byte("raw")}, Access{}, g.call("renew")
}

func (g *gate) Probe(_ context.Context, _ pki.Identity, ports []uint16) (Probed, error) {
	return Probed{time.Unix(7, 0), ports[:1], 9}, g.call("probe")
}

func (g *gate) Command(_ *x509.Certificate, who pki.Identity, node string) error {
	return g.call("command", who.Host, node)
}

// servers returns the servers for other hosts, which take callers for a member.
func servers(role pki.Role) (*gate, *enrollServer, *claimServer) {
	g := &gate{}
	e := &enrollServer{gate: g, identify: func(tls.ConnectionState) (pki.Identity, error) {
		return pki.Identity{Fleet: "f", Role: role, Host: "me"}, nil
	}}
	return g, e, &claimServer{claims: g, enroll: e}
}

// connected returns the context of a call over TLS with some certificates.
func connected(ctx context.Context, certs ...*x509.Certificate) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1},
		AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: certs}}})
}

func TestCallersAreHosts(t *testing.T) {
	cert := &x509.Certificate{}
	for want, c := range map[string]struct {
		ctx  context.Context
		role pki.Role
	}{
		"has no connection":         {t.Context(), pki.Member},
		"needs a certificate":       {connected(t.Context()), pki.Member},
		"is not that of a host":     {connected(t.Context(), cert), pki.Operator},
		"needs a certificate of th": {peer.NewContext(t.Context(), &peer.Peer{}), pki.Member},
	} {
		g, e, s := servers(c.role)
		_, claim := s.Claim(c.ctx, &fleetv1.ClaimRequest{NetworkId: "n", Subnet: "10.1.0.0/24"})
		_, give := s.Give(c.ctx, &fleetv1.GiveRequest{NetworkId: "n", Prefix: "10.1.0.0/29"})
		_, confirm := s.Confirm(c.ctx, &fleetv1.ConfirmRequest{NetworkId: "n"})
		_, leave := e.Leave(c.ctx, &fleetv1.LeaveRequest{})
		_, renew := e.Renew(c.ctx, &fleetv1.RenewRequest{})
		_, probe := e.Probe(c.ctx, &fleetv1.ProbeRequest{})
		_, appoint := e.Appoint(c.ctx, &fleetv1.AppointRequest{})
		for _, err := range []error{claim, give, confirm, leave, renew, probe, appoint} {
			if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", want, err)
			}
		}
		if len(g.calls) > 0 {
			t.Errorf("%s: got calls %v", want, g.calls)
		}
	}
}

func TestCallerIsOwner(t *testing.T) {
	ctx := connected(t.Context(), &x509.Certificate{})
	g, e, s := servers(pki.Member)
	r, err := s.Claim(ctx, &fleetv1.ClaimRequest{NetworkId: "n", Subnet: "10.1.0.0/24", Prefix: "10.1.0.9/32"})
	if err != nil || r.GetBlock().GetPrefix() != "10.1.0.0/29" {
		t.Errorf("got %v, %v", r, err)
	}
	_, give := s.Give(ctx, &fleetv1.GiveRequest{NetworkId: "n", Prefix: "10.1.0.0/29", ToHostId: "two"})
	_, confirm := s.Confirm(ctx, &fleetv1.ConfirmRequest{NetworkId: "n"})
	_, leave := e.Leave(ctx, &fleetv1.LeaveRequest{})
	if err := errors.Join(give, confirm, leave); err != nil {
		t.Error(err)
	}
	want := []string{"claim me n 10.1.0.0/24 10.1.0.9/32", "give me n 10.1.0.0/29 two", "confirm me n", "dismiss me"}
	if !slices.Equal(g.calls, want) {
		t.Errorf("got %q, want %q", g.calls, want)
	}
}

func TestInvalidRequestsRejected(t *testing.T) {
	ctx := connected(t.Context(), &x509.Certificate{})
	g, e, s := servers(pki.Member)
	var errs []error
	for _, bad := range []string{"", "10.1.0.0", "10.1.0.1/24", "::ffff:10.1.0.0/120"} {
		_, claim := s.Claim(ctx, &fleetv1.ClaimRequest{Subnet: bad})
		_, give := s.Give(ctx, &fleetv1.GiveRequest{Prefix: bad})
		errs = append(errs, claim, give)
	}
	_, exact := s.Claim(ctx, &fleetv1.ClaimRequest{Subnet: "10.1.0.0/24", Prefix: "10.1.0.9/29"})
	_, zero := e.Probe(ctx, &fleetv1.ProbeRequest{Ports: []uint32{0}})
	_, high := e.Probe(ctx, &fleetv1.ProbeRequest{Ports: []uint32{65536}})
	_, short := e.Enroll(ctx, &fleetv1.EnrollRequest{Secret: make([]byte, token.SecretLen-1)})
	_, long := e.Enroll(ctx, &fleetv1.EnrollRequest{Secret: make([]byte, token.SecretLen+1)})
	_, key := e.Appoint(ctx, &fleetv1.AppointRequest{AuthorityKey: []byte("x")})
	for i, err := range append(errs, exact, zero, high, short, long, key) {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if len(g.calls) > 0 {
		t.Errorf("got calls %v", g.calls)
	}
	r, err := e.Enroll(ctx, &fleetv1.EnrollRequest{Secret: make([]byte, token.SecretLen)})
	if err != nil || string(r.GetCertificate()) != "raw" || !slices.Equal(r.GetStore(), []string{"url"}) {
		t.Errorf("got %v, %v", r, err)
	}
}

// call is a stream of a command.
type call struct {
	grpc.ServerStream
	ctx context.Context
}

func (c call) Context() context.Context { return c.ctx }

func TestCommandsNeedPermission(t *testing.T) {
	g, e, _ := servers(pki.Operator)
	var accepted []string
	var log bytes.Buffer
	h := Hosts{Gate: g, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Accept: func(_ grpc.ServerStream, who string) error {
			accepted = append(accepted, who)
			return io.EOF
		}}
	if err := h.command(e, call{ctx: connected(t.Context())}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a certificate: got %v", err)
	}
	in := call{ctx: connected(t.Context(), &x509.Certificate{})}
	g.fails = fault.New(fault.Denied, "certificate me", "was revoked")
	if err := h.command(e, in); status.Code(err) != codes.PermissionDenied || len(accepted) > 0 {
		t.Errorf("got %v, accepted %v", err, accepted)
	}
	if text := log.String(); strings.Count(text, "command refused") != 2 || !strings.Contains(text, "192.0.2.7") {
		t.Errorf("log: got %s", text)
	}
	g.fails = nil
	if err := h.command(e, in); !errors.Is(err, io.EOF) || !slices.Equal(accepted, []string{"spiffe://f/operator/me"}) {
		t.Errorf("got %v, accepted %v", err, accepted)
	}
}

func TestRefusalsLogged(t *testing.T) {
	for _, c := range []struct {
		server any
		kind   fault.Kind
		logged bool
	}{
		{&enrollServer{}, fault.Invalid, true},
		{&claimServer{}, fault.Exhausted, false},
		{&claimServer{}, fault.Denied, true},
	} {
		var log bytes.Buffer
		_, err := convertFaults(slog.New(slog.NewTextHandler(&log, nil)))(t.Context(), nil,
			&grpc.UnaryServerInfo{Server: c.server, FullMethod: "/x"}, func(context.Context, any) (any, error) {
				return nil, fault.New(c.kind, "subject", "message")
			})
		got := strings.Contains(log.String(), "level=WARN")
		if got != c.logged || !fault.Is(faultrpc.FromStatus(err), c.kind) {
			t.Errorf("%T %d: got %v, logged %q", c.server, c.kind, err, log.String())
		}
	}
}
