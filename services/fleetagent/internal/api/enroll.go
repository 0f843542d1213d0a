package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/noderpc"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// Limits of the listener for other hosts, and those of a host that joins, which is not authenticated.
const (
	maxRequest     = 4 << 20 // as on the sockets of the agent
	joinRequest    = 64 << 10
	joinStreams    = 2
	joinHeaders    = 8 << 10
	joinBuffer     = 4 << 10
	joinTime       = 30 * time.Second // of a connection
	joinIdle       = 10 * time.Second
	joinGrace      = 5 * time.Second
	maxHeaders     = 64 << 10
	maxHostStreams = 1000
	// The time of a certificate is verified when a connection is made. After this time, hosts connect with their
	// present one, and streams go on with the old connection.
	connectionAge = time.Hour
)

// Accept handles a call of an authorized client, as service.Deps has it.
type Accept = func(in grpc.ServerStream, certificate string) error

// Joining describes a host that joins.
type Joining struct {
	Request  []byte // for a certificate, in DER
	Host     *fleetv1.Host
	Now      time.Time // its clock
	Underlay preflight.Underlay
}

// Access says how a host reaches the store.
type Access struct {
	URLs     []string        // for clients
	External *external.Store // without credentials; nil if the managers run the store
}

// Gatekeeper admits hosts and gives them addresses. It is implemented by fleet.Fleet.
type Gatekeeper interface {
	Enroll(ctx context.Context, secret [token.SecretLen]byte, joining Joining) (*fleetv1.Host, *x509.Certificate,
		Access, error)
	Renew(ctx context.Context, who pki.Identity, request []byte) (*x509.Certificate, Access, error)
	Dismiss(ctx context.Context, who pki.Identity) error
	Claims
	Appoint(ctx context.Context, who pki.Identity, keys Keys) error
	Probe(ctx context.Context, who pki.Identity, ports []uint16) (Probed, error)
	// Command returns an error if the holder of a certificate may not command this host, or not
	// through it the given one.
	Command(cert *x509.Certificate, who pki.Identity, node string) error
}

// Hosts serves other hosts, and persons with a certificate of the fleet.
type Hosts struct {
	TLS  *tls.Config
	Log  *slog.Logger
	Gate Gatekeeper
	// Identify verifies the certificate of a connection, except its time: a connection can outlive it.
	Identify func(tls.ConnectionState) (pki.Identity, error)
	Accept   Accept
	// HandshakeTime limits a handshake. 0: five seconds.
	HandshakeTime time.Duration
}

// Serve serves a listener until ctx ends. Clients without a certificate have a server of their own, which accepts
// small requests only.
func (h Hosts) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	enroll := &enrollServer{gate: h.Gate, identify: h.Identify}
	known := h.newServer(enroll, grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxHostStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: connectionAge, Time: keepaliveTime,
			Timeout: keepaliveTimeout}))
	fleetv1.RegisterClaimServiceServer(known, &claimServer{claims: h.Gate, enroll: enroll})
	joining := h.newServer(enroll, grpc.MaxRecvMsgSize(joinRequest), grpc.MaxSendMsgSize(joinRequest),
		grpc.MaxHeaderListSize(joinHeaders), grpc.MaxConcurrentStreams(joinStreams),
		grpc.ReadBufferSize(joinBuffer), grpc.WriteBufferSize(joinBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: joinTime, MaxConnectionIdle: joinIdle,
			MaxConnectionAgeGrace: joinGrace, Time: keepaliveTime, Timeout: keepaliveTimeout}))

	d := divide(l, h.TLS, cmp.Or(h.HandshakeTime, handshakeTime))
	stop := context.AfterFunc(ctx, func() {
		known.Stop()
		joining.Stop()
	})
	defer stop()
	errs := make(chan error, 3)
	go func() { errs <- d.run(ctx, l) }()
	go func() { errs <- known.Serve(d.known) }()
	go func() { errs <- joining.Serve(d.joining) }()
	first := <-errs
	stopping := ctx.Err() != nil
	cancel()
	for range cap(errs) - 1 {
		<-errs
	}
	if first != nil && !errors.Is(first, grpc.ErrServerStopped) && !stopping {
		return first
	}
	return nil
}

// newServer returns a server that admits hosts and accepts commands.
func (h Hosts) newServer(enroll *enrollServer, limits ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append(limits, grpc.Creds(handshaken{}), grpc.UnaryInterceptor(convertFaults(h.Log)),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinimum,
			PermitWithoutStream: true}),
		grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error { return h.command(enroll, in) }))...)
	fleetv1.RegisterEnrollServiceServer(s, enroll)
	return s
}

// command handles a call to the services of this host, or through it to those of another one.
func (h Hosts) command(enroll *enrollServer, in grpc.ServerStream) error {
	cert, who, err := enroll.certificate(in.Context())
	if err == nil {
		err = h.Gate.Command(cert, who, noderpc.Of(in.Context()))
	}
	if err != nil {
		method, _ := grpc.MethodFromServerStream(in)
		h.Log.Warn("command refused", "method", method, "from", remoteAddress(in.Context()), "error", err)
		return faultrpc.ToStatus(err)
	}
	return h.Accept(in, who.String())
}

// convertFaults returns an interceptor that converts faults to gRPC statuses and logs refused requests. It
// does not log their content, which can be the secret of a token.
func convertFaults(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		resp, err := handle(ctx, req)
		if err != nil {
			level := slog.LevelWarn
			if _, claim := info.Server.(*claimServer); claim && fault.KindOf(err) != fault.Denied {
				level = slog.LevelDebug // an exhausted network is reported to its user
			}
			log.Log(ctx, level, "fleet request refused", "method", info.FullMethod, "from", remoteAddress(ctx),
				"error", err)
		}
		return resp, faultrpc.ToStatus(err)
	}
}

// remoteAddress returns the address of the client for logs.
func remoteAddress(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// enrollServer implements fairlead.fleet.v1.EnrollService.
type enrollServer struct {
	fleetv1.UnimplementedEnrollServiceServer
	gate     Gatekeeper
	identify func(tls.ConnectionState) (pki.Identity, error)
}

// Enroll admits a host.
func (s *enrollServer) Enroll(ctx context.Context, req *fleetv1.EnrollRequest) (*fleetv1.EnrollResponse, error) {
	var secret [token.SecretLen]byte
	if copy(secret[:], req.GetSecret()) != len(secret) || len(req.GetSecret()) != len(secret) {
		return nil, fault.Invalidf("join token", "secret", "has a secret of %d bytes, not %d", len(req.GetSecret()),
			token.SecretLen)
	}
	joining := Joining{Request: req.GetCertificateRequest(), Host: req.GetHost(), Now: req.GetNow().AsTime(),
		Underlay: preflight.Underlay{MTU: int(req.GetUnderlayMtu())}}
	for _, text := range req.GetRoutes() {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.Invalidf("host "+req.GetHost().GetName(), "routes", "%q is not an address range", text)
		}
		joining.Underlay.Routes = append(joining.Underlay.Routes, p.Masked())
	}
	host, cert, store, err := s.gate.Enroll(ctx, secret, joining)
	if err != nil {
		return nil, err
	}
	return &fleetv1.EnrollResponse{Host: host, Certificate: cert.Raw, Store: store.URLs,
		ExternalStore: store.External.Message()}, nil
}

// Renew issues a new certificate to the calling host.
func (s *enrollServer) Renew(ctx context.Context, req *fleetv1.RenewRequest) (*fleetv1.RenewResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	cert, store, err := s.gate.Renew(ctx, who, req.GetCertificateRequest())
	if err != nil {
		return nil, err
	}
	return &fleetv1.RenewResponse{Certificate: cert.Raw, Store: store.URLs,
		ExternalStore: store.External.Message()}, nil
}

// Leave removes the calling host.
func (s *enrollServer) Leave(ctx context.Context, _ *fleetv1.LeaveRequest) (*fleetv1.LeaveResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return &fleetv1.LeaveResponse{}, s.gate.Dismiss(ctx, who)
}

// caller returns the host that calls, by its certificate.
func (s *enrollServer) caller(ctx context.Context) (pki.Identity, error) {
	_, who, err := s.certificate(ctx)
	if err == nil && who.Role == pki.Operator {
		err = fault.New(fault.Denied, "certificate "+who.String(), "is not that of a host")
	}
	return who, err
}

// certificate returns the verified certificate of a client.
func (s *enrollServer) certificate(ctx context.Context) (*x509.Certificate, pki.Identity, error) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, pki.Identity{}, fault.New(fault.Denied, "request", "has no connection")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, pki.Identity{}, fault.New(fault.Denied, "request", "needs a certificate of the fleet")
	}
	who, err := s.identify(info.State)
	return info.State.PeerCertificates[0], who, err
}
