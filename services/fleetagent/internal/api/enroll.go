package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// Limits of the listener for other hosts.
const (
	connectionTimeout = 5 * time.Second // until a client has finished the TLS handshake
	maxRequest        = 64 << 10
)

// Gatekeeper admits hosts. It is implemented by fleet.Fleet.
type Gatekeeper interface {
	Enroll(ctx context.Context, secret [token.SecretLen]byte, request []byte, host *fleetv1.Host, clock time.Time) (
		*fleetv1.Host, *x509.Certificate, []string, error)
	Renew(ctx context.Context, who pki.Identity, request []byte) (*x509.Certificate, []string, error)
	Dismiss(ctx context.Context, who pki.Identity) error
}

// ServeHosts serves other hosts on a listener until ctx ends. identify verifies the certificate of a
// connection.
func ServeHosts(ctx context.Context, l net.Listener, config *tls.Config, log *slog.Logger, gate Gatekeeper,
	identify func(tls.ConnectionState) (pki.Identity, error)) error {
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.ConnectionTimeout(connectionTimeout),
		grpc.MaxRecvMsgSize(maxRequest), grpc.UnaryInterceptor(statuses(log)))
	fleetv1.RegisterEnrollServiceServer(s, &enrollServer{gate: gate, identify: identify})
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) && ctx.Err() == nil {
		return err
	}
	return nil
}

// statuses converts faults and logs what was refused, without secrets.
func statuses(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		resp, err := handle(ctx, req)
		if err != nil {
			from := ""
			if p, ok := peer.FromContext(ctx); ok {
				from = p.Addr.String()
			}
			log.Warn("fleet request refused", "method", info.FullMethod, "from", from, "error", err)
		}
		return resp, faultrpc.ToStatus(err)
	}
}

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
	host, cert, store, err := s.gate.Enroll(ctx, secret, req.GetCertificateRequest(), req.GetHost(),
		req.GetNow().AsTime())
	if err != nil {
		return nil, err
	}
	return &fleetv1.EnrollResponse{Host: host, Certificate: cert.Raw, Store: store}, nil
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
	return &fleetv1.RenewResponse{Certificate: cert.Raw, Store: store}, nil
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
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return pki.Identity{}, fault.New(fault.Denied, "request", "has no connection")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return pki.Identity{}, fault.New(fault.Denied, "request", "needs the certificate of a host")
	}
	who, err := s.identify(info.State)
	if err == nil && who.Role == pki.Operator {
		err = fault.New(fault.Denied, "certificate "+who.String(), "is not that of a host")
	}
	return who, err
}
