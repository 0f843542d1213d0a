package peer_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/peer"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const timeout = 30 * time.Second

type names struct {
	dnsv1.UnimplementedNameServiceServer
}

func (names) ListOwners(context.Context, *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	return nil, faultrpc.ToStatus(fault.New(fault.Busy, "owner", "is busy"))
}

func (names) Register(ctx context.Context, _ *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	<-ctx.Done() // it never responds
	return nil, ctx.Err()
}

// serve serves names at a host until the returned function is called.
func serve(t *testing.T, host config.Host) (config.Host, func()) {
	t.Helper()
	l, err := net.Listen(host.Network, host.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	dnsv1.RegisterNameServiceServer(s, names{})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return config.Host{Network: host.Network, Address: l.Addr().String()}, s.Stop
}

func ask(t *testing.T, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{})
	return err
}

func dial(t *testing.T, host config.Host) *grpc.ClientConn {
	t.Helper()
	conn, err := peer.Dial("dnsagent", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestCallsAnswerFaultsOverUnixAndTCP(t *testing.T) {
	for _, host := range []config.Host{{Network: "unix", Address: filepath.Join(t.TempDir(), "s")},
		{Network: "tcp", Address: "127.0.0.1:0"}} {
		host, _ := serve(t, host)
		if err := ask(t, dial(t, host)); !fault.Is(err, fault.Busy) || err.Error() != "owner: is busy" {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestACallWaitsForAServiceThatStartsLaterOrAgain(t *testing.T) {
	host := config.Host{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
	conn := dial(t, host)
	for range 3 {
		answered := make(chan error, 1)
		go func() { answered <- ask(t, conn) }()
		_, stop := serve(t, host)
		if err := <-answered; !fault.Is(err, fault.Busy) {
			t.Errorf("%v", err)
		}
		stop()
	}
}

func TestUnansweredCallNamesService(t *testing.T) {
	host, _ := serve(t, config.Host{Network: "unix", Address: filepath.Join(t.TempDir(), "s")})
	conn := dial(t, host)
	_ = ask(t, conn) // it is connected
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := dnsv1.NewNameServiceClient(conn).Register(ctx, &dnsv1.RegisterRequest{})
	if !fault.Is(err, fault.Unavailable) || !strings.HasPrefix(err.Error(), "dnsagent: did not respond in time; ") {
		t.Errorf("got %v", err)
	}
}

func TestACallerThatGivesUpIsNotKept(t *testing.T) {
	conn := dial(t, config.Host{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{}); err == nil {
		t.Error("a call to a missing service was answered")
	}
	_ = conn.Close()
	if err := ask(t, conn); !fault.Is(err, fault.Unavailable) {
		t.Errorf("over a closed connection: %v", err)
	}
}
