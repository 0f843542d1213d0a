package dnsagent_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/faultrpc"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent"
)

// machine holds the directories of a host, on which agents can be started sequentially.
type machine struct {
	t     testing.TB
	root  string
	store dnsagent.FDStore
}

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, root: t.TempDir()}
	m.write("host/etc/resolv.conf", "nameserver 10.9.9.9\n")
	m.write("host/etc/hosts", "127.0.0.1 localhost\n10.1.1.1 printer\n")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) write(name, content string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func (m *machine) config() dnsagent.Config {
	return dnsagent.Config{
		Store:    m.store,
		DataRoot: m.path("data"), ExecRoot: m.path("exec"), HostRoot: m.path("host"),
		Log:      slog.New(slog.DiscardHandler),
		Hostname: func() (string, error) { return "box", nil },
	}
}

// start runs an agent and returns a client and a function that stops the agent.
func (m *machine) start() (dnsv1.NameServiceClient, func()) {
	m.t.Helper()
	svc, err := dnsagent.New(context.Background(), m.config())
	if err != nil {
		m.t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- svc.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		m.t.Fatalf("service exited: %v", err)
	case <-time.After(60 * time.Second):
		m.t.Fatal("service is not ready")
	}

	client, disconnect := connect(m.t, svc)
	stop := sync.OnceFunc(func() {
		disconnect()
		cancel()
		if err := <-ended; err != nil {
			m.t.Error(err)
		}
		if err := svc.Close(); err != nil {
			m.t.Error(err)
		}
	})

	m.t.Cleanup(stop)
	return client, stop
}

func connect(t testing.TB, svc service.Service) (dnsv1.NameServiceClient, func()) {
	conn, disconnect := dialService(t, svc)
	return dnsv1.NewNameServiceClient(conn), disconnect
}

// dialService serves the service on a connection in memory.
func dialService(t testing.TB, svc service.Service) (*grpc.ClientConn, func()) {
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo,
		h grpc.UnaryHandler) (any, error) {
		resp, err := h(ctx, req)
		return resp, faultrpc.ToStatus(err)
	}))

	svc.Register(server)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///dnsagent", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(faultrpc.UnaryClient),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}

	return conn, func() {
		_ = conn.Close()
		server.Stop()
	}
}

func scenario7(owner string) *dnsv1.RegisterRequest {
	return &dnsv1.RegisterRequest{
		Owner: owner, FileSource: dnsv1.FileSource_FILE_SOURCE_GENERATED, Hostname: "docker.test.com",
		Addresses: []string{"172.17.0.2"},
		Servers:   []string{"1.1.1.1"}, Search: []string{"baidu.com"},
	}
}

func register(t testing.TB, c dnsv1.NameServiceClient, req *dnsv1.RegisterRequest) *dnsv1.NameFiles {
	t.Helper()
	resp, err := c.Register(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetFiles()
}

func owners(t testing.TB, c dnsv1.NameServiceClient) []string {
	t.Helper()
	resp, err := c.ListOwners(t.Context(), &dnsv1.ListOwnersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetOwners()
}
