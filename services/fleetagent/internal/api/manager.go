package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// maxRoutes limits the routes that a joining host sends: its request must stay small.
const maxRoutes = 1000

// Limits of calls to a manager. One that changes the fleet waits for a store whose leader was lost.
const (
	reachTimeout   = 5 * time.Second
	managerTimeout = 20 * time.Second
)

// Manager is a connection to a manager.
type Manager struct {
	address netip.AddrPort
	conn    *grpc.ClientConn
	client  fleetv1.EnrollServiceClient
	claims  fleetv1.ClaimServiceClient

	mu    sync.Mutex
	local netip.Addr // of the last connection
}

// DialManager returns a connection to a manager. It connects with the first call.
func DialManager(address netip.AddrPort, config *tls.Config) (*Manager, error) {
	m := &Manager{address: address}
	conn, err := grpc.NewClient("passthrough:///"+address.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithNoProxy(),
		grpc.WithContextDialer(m.dial),
		grpc.WithUnaryInterceptor(faultrpc.UnaryClient))
	if err != nil {
		return nil, fault.New(fault.Internal, "manager "+address.String(), "cannot be called", fault.WithCause(err))
	}
	m.conn, m.client, m.claims = conn, fleetv1.NewEnrollServiceClient(conn), fleetv1.NewClaimServiceClient(conn)
	return m, nil
}

func (m *Manager) dial(ctx context.Context, target string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err == nil {
		if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
			m.mu.Lock()
			m.local = a.AddrPort().Addr().Unmap()
			m.mu.Unlock()
		}
	}
	return conn, err
}

// Close closes the connection.
func (m *Manager) Close() error { return m.conn.Close() }

// Reach connects to the manager and returns this host's address on that connection.
func (m *Manager) Reach(ctx context.Context) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	// Renew without a certificate is denied. The answer shows that the manager was verified.
	_, err := m.client.Renew(ctx, &fleetv1.RenewRequest{})
	if kind := fault.KindOf(err); err != nil && kind != fault.Denied {
		return netip.Addr{}, m.failed(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.local, nil
}

// Enroll asks to be admitted. It returns the stored host, its certificate and the store's URLs.
func (m *Manager) Enroll(ctx context.Context, secret [token.SecretLen]byte, joining Joining) (*fleetv1.Host,
	*x509.Certificate, Access, error) {
	ctx, cancel := context.WithTimeout(ctx, managerTimeout)
	defer cancel()
	req := &fleetv1.EnrollRequest{Secret: secret[:], CertificateRequest: joining.Request, Host: joining.Host,
		Now: timestamppb.New(joining.Now), UnderlayMtu: uint32(max(0, joining.Underlay.MTU))} //nolint:gosec // an MTU
	for _, p := range joining.Underlay.Routes[:min(maxRoutes, len(joining.Underlay.Routes))] {
		req.Routes = append(req.Routes, p.String())
	}
	r, err := m.client.Enroll(ctx, req)
	if err != nil {
		return nil, nil, Access{}, m.failed(err)
	}
	cert, err := x509.ParseCertificate(r.GetCertificate())
	return r.GetHost(), cert, Access{r.GetStore(), external.Of(r.GetExternalStore())}, err
}

// Renew returns a new certificate for this host and the store's URLs.
func (m *Manager) Renew(ctx context.Context, request []byte) (*x509.Certificate, Access, error) {
	ctx, cancel := context.WithTimeout(ctx, managerTimeout)
	defer cancel()
	r, err := m.client.Renew(ctx, &fleetv1.RenewRequest{CertificateRequest: request})
	if err != nil {
		return nil, Access{}, m.failed(err)
	}
	cert, err := x509.ParseCertificate(r.GetCertificate())
	return cert, Access{r.GetStore(), external.Of(r.GetExternalStore())}, err
}

// Leave removes this host from the fleet.
func (m *Manager) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := m.client.Leave(ctx, &fleetv1.LeaveRequest{})
	return m.failed(err)
}

// failed names the manager if it could not be reached, or if its certificate was not accepted.
func (m *Manager) failed(err error) error {
	if err == nil || fault.KindOf(err) != fault.Unavailable {
		return err
	}
	if _, why, ok := strings.Cut(err.Error(), "authentication handshake failed: "); ok {
		return fault.New(fault.Unavailable, "manager "+m.address.String(),
			"is not accepted: "+strings.TrimRight(why, `"`))
	}
	return fault.New(fault.Unavailable, "manager "+m.address.String(), "cannot be reached", fault.WithCause(err),
		fault.WithHint("open TCP port %d of that host for this one", m.address.Port()))
}
