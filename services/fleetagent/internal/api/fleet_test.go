package api

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// fleet is a fake of Fleet.
type fleet struct {
	Fleet
	backup  []byte
	address string
	valid   time.Duration
	uses    uint32
	role    token.Role
}

func (f *fleet) Backup(context.Context) ([]byte, error) { return f.backup, nil }

func (f *fleet) Restore(_ context.Context, data []byte, address string) (string, *fleetv1.Host, error) {
	f.backup, f.address = data, address
	return "f1", &fleetv1.Host{Id: "h1"}, nil
}

func (f *fleet) IssueToken(_ context.Context, valid time.Duration, uses uint32, role token.Role) (string, time.Time,
	error) {
	f.valid, f.uses, f.role = valid, uses, role
	return "word", time.Unix(7, 0), nil
}

// parts is the stream of a backup in both directions.
type parts struct {
	grpc.ServerStream
	ctx     context.Context
	all     [][]byte
	address string
	done    *fleetv1.RestoreFleetResponse
}

func (p *parts) Context() context.Context { return p.ctx }

func (p *parts) Send(m *fleetv1.BackupFleetResponse) error {
	p.all = append(p.all, bytes.Clone(m.GetData()))
	return nil
}

func (p *parts) Recv() (*fleetv1.RestoreFleetRequest, error) {
	if len(p.all) == 0 {
		return nil, io.EOF
	}
	m := &fleetv1.RestoreFleetRequest{Data: p.all[0], Address: p.address}
	p.all, p.address = p.all[1:], "" // the first message has the address
	return m, nil
}

func (p *parts) SendAndClose(m *fleetv1.RestoreFleetResponse) error {
	p.done = m
	return nil
}

func TestBackupInParts(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), backupPart/8) // two parts
	want = append(want, "end"...)
	p := &parts{ctx: t.Context(), address: "192.0.2.1"}
	if err := (&fleetServer{fleet: &fleet{backup: want}}).BackupFleet(nil, p); err != nil || len(p.all) != 3 ||
		len(p.all[0]) != backupPart {
		t.Fatalf("got %d parts, %v", len(p.all), err)
	}
	f := &fleet{}
	err := (&fleetServer{fleet: f}).RestoreFleet(p)
	if err != nil || !bytes.Equal(f.backup, want) || f.address != "192.0.2.1" || p.done.GetFleetId() != "f1" ||
		p.done.GetHost().GetId() != "h1" {
		t.Errorf("got %d bytes for %q, %v: %v", len(f.backup), f.address, p.done, err)
	}
}

func TestTokenDefaults(t *testing.T) {
	f := &fleet{}
	s := &fleetServer{fleet: f}
	r, err := s.CreateToken(t.Context(), &fleetv1.CreateTokenRequest{})
	if err != nil || f.valid != time.Hour || f.uses != 1 || f.role != token.Member || r.GetToken() != "word" ||
		r.GetExpires().AsTime().Unix() != 7 {
		t.Errorf("got %v, %+v, %v", r, f, err)
	}
	_, err = s.CreateToken(t.Context(), &fleetv1.CreateTokenRequest{Valid: durationpb.New(time.Minute), Uses: 5,
		Role: fleetv1.HostRole_HOST_ROLE_MANAGER})
	if err != nil || f.valid != time.Minute || f.uses != 5 || f.role != token.Manager {
		t.Errorf("got %+v, %v", f, err)
	}
}

// overlays is a fake of Overlay.
type overlays struct {
	Overlay
	subnet, exact netip.Prefix
	info          *fleetv1.HostInfo
}

func (o *overlays) ClaimBlock(_ context.Context, _ string, subnet, exact netip.Prefix) (*fleetv1.OverlayBlock, error) {
	o.subnet, o.exact = subnet, exact
	return &fleetv1.OverlayBlock{Prefix: "10.1.0.0/29"}, nil
}

func (o *overlays) PublishHost(_ context.Context, info *fleetv1.HostInfo, _ int) error {
	o.info = info
	return nil
}

func TestOverlayRequestsConverted(t *testing.T) {
	o := &overlays{}
	s := &overlayServer{overlay: o}
	_, network := s.CreateNetwork(t.Context(), &fleetv1.CreateNetworkRequest{})
	_, claim := s.ClaimBlock(t.Context(), &fleetv1.ClaimBlockRequest{Subnet: "10.1.0.1/24"})
	_, release := s.ReleaseBlock(t.Context(), &fleetv1.ReleaseBlockRequest{Prefix: "x"})
	for _, err := range []error{network, claim, release} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
	}

	r, err := s.ClaimBlock(t.Context(), &fleetv1.ClaimBlockRequest{Subnet: "10.1.0.0/24"})
	if err != nil || r.GetBlock().GetPrefix() != "10.1.0.0/29" || o.subnet.String() != "10.1.0.0/24" ||
		o.exact.IsValid() {
		t.Errorf("got %v, %v, called with %s %s", r, err, o.subnet, o.exact)
	}
	_, err = s.PublishHost(t.Context(), &fleetv1.PublishHostRequest{Routes: []string{"10.0.0.0/8"}, UnderlayMtu: 1400,
		TunnelKeys: []*fleetv1.TunnelKey{{Generation: 7}}})
	if err != nil || len(o.info.GetRoutes()) != 1 || o.info.GetUnderlayMtu() != 1400 ||
		len(o.info.GetTunnelKeys()) != 1 {
		t.Errorf("got %v, %v", o.info, err)
	}
}

// enrolled is a manager as its clients see it.
type enrolled struct {
	fleetv1.EnrollServiceClient
	fleetv1.ClaimServiceClient
	fails error
	claim *fleetv1.ClaimRequest
	ports []uint32
}

func (e *enrolled) Renew(context.Context, *fleetv1.RenewRequest, ...grpc.CallOption) (*fleetv1.RenewResponse, error) {
	return nil, e.fails
}

func (e *enrolled) Probe(_ context.Context, r *fleetv1.ProbeRequest, _ ...grpc.CallOption) (
	*fleetv1.ProbeResponse, error) {
	e.ports = r.GetPorts()
	return &fleetv1.ProbeResponse{Now: timestamppb.New(time.Unix(7, 0)), Closed: e.ports[:1], Generation: 9}, e.fails
}

func (e *enrolled) Claim(_ context.Context, r *fleetv1.ClaimRequest, _ ...grpc.CallOption) (
	*fleetv1.ClaimResponse, error) {
	e.claim = r
	return &fleetv1.ClaimResponse{Block: &fleetv1.OverlayBlock{Prefix: "10.1.0.0/29"}}, e.fails
}

func TestManagerNamedWhenAway(t *testing.T) {
	e := &enrolled{}
	local := netip.MustParseAddr("192.0.2.7")
	m := &Manager{address: netip.MustParseAddrPort("192.0.2.1:4460"), client: e, claims: e, local: local}
	subnet := netip.MustParsePrefix("10.1.0.0/24")

	b, err := m.Claim(t.Context(), ledger.Caller{Host: "me", Epoch: 5}, "n", subnet, netip.Prefix{})
	if err != nil || b.GetPrefix() != "10.1.0.0/29" || e.claim.GetEpoch() != 5 || e.claim.GetPrefix() != "" ||
		e.claim.GetSubnet() != "10.1.0.0/24" {
		t.Errorf("got %v, %v, sent %v", b, err, e.claim)
	}
	probed, err := m.Probe(t.Context(), []uint16{443, 65535})
	if err != nil || probed.Now.Unix() != 7 || !slices.Equal(probed.Closed, []uint16{443}) || probed.Generation != 9 ||
		len(e.ports) != 2 || e.ports[1] != 65535 {
		t.Errorf("got %v, %v, sent %v", probed, err, e.ports)
	}

	e.fails = fault.New(fault.Denied, "request", "needs a certificate")
	if got, err := m.Reach(t.Context()); err != nil || got != local {
		t.Errorf("manager that asks for a certificate: got %s, %v", got, err)
	}
	e.fails = fault.New(fault.Exhausted, "subnet", "has no free block")
	if _, err := m.Claim(t.Context(), ledger.Caller{}, "n", subnet, subnet); !fault.Is(err, fault.Exhausted) {
		t.Errorf("got %v", err)
	}
	e.fails = fault.New(fault.Unavailable, "connection", "refused")
	_, reach := m.Reach(t.Context())
	_, claim := m.Claim(t.Context(), ledger.Caller{}, "n", subnet, subnet)
	for _, err := range []error{reach, claim} {
		if !fault.Is(err, fault.Unavailable) ||
			!strings.Contains(err.Error(), "manager 192.0.2.1:4460: cannot be reached") ||
			!strings.Contains(err.Error(), "open TCP port 4460") {
			t.Errorf("got %v", err)
		}
	}
}

func TestNodeConnections(t *testing.T) {
	n := NewNodes()
	target := Target{ID: "one", Name: "alpha", Address: netip.MustParseAddrPort("192.0.2.1:4460")}
	first, err := n.Conn(target)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.Conn(target); err != nil || again != first {
		t.Errorf("got another connection, %v", err)
	}
	target.Address = netip.MustParseAddrPort("192.0.2.2:4460")
	moved, err := n.Conn(target)
	if err != nil || moved == first {
		t.Errorf("after a move: got the same connection, %v", err)
	}
	err = first.Invoke(t.Context(), "/x/y", nil, nil)
	if !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != fault.ReasonUnreachable ||
		!strings.Contains(err.Error(), "host alpha: does not answer at 192.0.2.1:4460") {
		t.Errorf("closed connection: got %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	_, err = n.Conn(Target{ID: "two", Name: "beta", Address: target.Address})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "this host has left the fleet") {
		t.Errorf("after leaving: got %v", err)
	}
}

func TestLostConnectionNamesHost(t *testing.T) {
	c := &nodeConn{target: Target{Name: "alpha"}}
	err := c.explain(status.Error(codes.Unavailable, "EOF"))
	if fault.ReasonOf(err) != fault.ReasonConnectionLost ||
		!strings.Contains(err.Error(), "host alpha: connection lost: EOF") {
		t.Errorf("got %v", err)
	}
	own := faultrpc.ToStatus(fault.New(fault.Unavailable, "natagent", "does not respond"))
	for _, err := range []error{nil, own, status.Error(codes.NotFound, "x"), io.ErrUnexpectedEOF} {
		if got := c.explain(err); got != err { //nolint:errorlint // the very same
			t.Errorf("got %v, want %v", got, err)
		}
	}
}
