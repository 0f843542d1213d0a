package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/server"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const timeout = time.Minute

// names implements services with functions of the test.
type names struct {
	dnsv1.UnimplementedNameServiceServer
	containerv1.UnimplementedContainerServiceServer
	list func(context.Context) error
	logs func(context.Context) error
}

func (n *names) ListOwners(ctx context.Context, _ *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	if err := n.list(ctx); err != nil {
		return nil, err
	}
	return &dnsv1.ListOwnersResponse{Owners: []string{"me"}}, nil
}

func (n *names) ReadLogs(_ *containerv1.ReadLogsRequest,
	s grpc.ServerStreamingServer[containerv1.ReadLogsResponse]) error {
	return n.logs(s.Context())
}

func (n *names) register(r grpc.ServiceRegistrar) {
	dnsv1.RegisterNameServiceServer(r, n)
	containerv1.RegisterContainerServiceServer(r, n)
}

// lines is a log that tests can read while the server writes to it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// calls returns the log lines about calls of a method.
func (l *lines) calls(t *testing.T, method string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		entry := map[string]any{}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if m, ok := entry["method"].(string); ok && strings.HasSuffix(m, method) {
			all = append(all, entry)
		}
	}
	return all
}

// start serves n on a Unix socket and connects to it.
func start(t *testing.T, audience auth.Audience, n *names) (*server.Server, *grpc.ClientConn, *lines) {
	t.Helper()
	log := new(lines)
	s, err := server.New(server.Config{Name: "test", Log: slog.New(slog.NewJSONHandler(log,
		&slog.HandlerOptions{Level: slog.LevelDebug})), Audience: audience}, n.register)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}

	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, conn, log
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func list(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{})
	return err
}

func TestCallLoggedInOneLine(t *testing.T) {
	var answer error
	s, conn, log := start(t, auth.Admins, &names{list: func(context.Context) error { return answer }})
	s.Ready()
	for _, answer = range []error{nil, fault.NotFoundf("owner 1234", "is not there")} {
		err := list(bounded(t), conn)
		if want := fault.KindOf(answer); fault.KindOf(faultrpc.FromStatus(err)) != want {
			t.Errorf("got %v, want %v", err, answer)
		}
	}

	calls := log.calls(t, "NameService/ListOwners")
	if len(calls) != 2 {
		t.Fatalf("got %d lines, want 2: %v", len(calls), calls)
	}

	peer := fmt.Sprintf("uid=%d gid=%d pid=%d", os.Getuid(), os.Getgid(), os.Getpid())
	for i, want := range []map[string]any{
		{"level": "DEBUG", "server": "test", "peer": peer, "code": "OK", "subject": nil},
		{"level": "DEBUG", "server": "test", "peer": peer, "code": "NotFound", "subject": "owner 1234",
			"error": "owner 1234: is not there"},
	} {
		for key, value := range want {
			if calls[i][key] != value {
				t.Errorf("line %d: %s: got %v, want %v", i, key, calls[i][key], value)
			}
		}
	}
}

func TestPanicInternalAndStackLogged(t *testing.T) {
	s, conn, log := start(t, auth.Admins, &names{list: func(context.Context) error { panic("boom") }})
	s.Ready()
	err := list(bounded(t), conn)
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "server_test.go") {
		t.Errorf("got error %v, want Internal without a stack", err)
	}
	calls := log.calls(t, "ListOwners")
	if len(calls) != 1 || !strings.Contains(fmt.Sprint(calls[0]["stack"]), "server_test.go") ||
		calls[0]["level"] != "ERROR" {
		t.Errorf("got log lines %v, want one ERROR with the stack", calls)
	}
}

func TestCallsWaitUntilReady(t *testing.T) {
	called := make(chan struct{}, 1)
	signal := func(context.Context) error { called <- struct{}{}; return nil }
	s, conn, _ := start(t, auth.Admins, &names{list: signal})
	health := grpc_health_v1.NewHealthClient(conn)
	check := func(service string, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		r, err := health.Check(bounded(t), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || r.GetStatus() != want {
			t.Errorf("health of %q: got %v, error %v, want %v", service, r.GetStatus(), err, want)
		}
	}

	check("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	check("fairlead.dns.v1.NameService", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	answered := make(chan error, 1)
	go func() { answered <- list(bounded(t), conn) }()
	short, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error, 1)
	go func() { cancelled <- list(short, conn) }()
	cancel()
	if err := <-cancelled; status.Code(err) != codes.Canceled {
		t.Errorf("canceled call: got error %v, want Canceled", err)
	}

	select {
	case <-called:
		t.Error("call served before the service was ready")
	case err := <-answered:
		t.Errorf("call returned before the service was ready: %v", err)
	default:
	}

	s.Ready()
	if err := <-answered; err != nil {
		t.Error(err)
	}

	check("", grpc_health_v1.HealthCheckResponse_SERVING)
	check("fairlead.dns.v1.NameService", grpc_health_v1.HealthCheckResponse_SERVING)
}

func TestReflectionListsServices(t *testing.T) {
	_, conn, _ := start(t, auth.Admins, &names{})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}

	request := &grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}

	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.GetListServicesResponse().GetService()); !strings.Contains(got,
		"fairlead.dns.v1.NameService") {
		t.Errorf("got services %s", got)
	}
}

func TestStopClosesStreamsAndCompletesCalls(t *testing.T) {
	inList, inLogs, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s, conn, _ := start(t, auth.Admins, &names{
		list: func(context.Context) error { close(inList); <-release; return nil },
		logs: func(ctx context.Context) error { close(inLogs); <-ctx.Done(); close(release); return ctx.Err() },
	})

	s.Ready()
	answered := make(chan error, 1)
	go func() { answered <- list(bounded(t), conn) }()
	logs, err := containerv1.NewContainerServiceClient(conn).ReadLogs(bounded(t), &containerv1.ReadLogsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	<-inList
	<-inLogs
	s.Stop(bounded(t))
	if err := <-answered; err != nil {
		t.Errorf("pending call: got error %v", err)
	}
	if _, err := logs.Recv(); err == io.EOF || !strings.Contains(fmt.Sprint(err), "agent: is stopping") ||
		status.Code(err) != codes.Unavailable {
		t.Errorf("stream: got error %v", err)
	}
}

func TestStopWithCanceledContextCancelsCalls(t *testing.T) {
	in := make(chan struct{})
	wait := func(ctx context.Context) error { close(in); <-ctx.Done(); return ctx.Err() }
	s, conn, _ := start(t, auth.Admins, &names{list: wait})
	s.Ready()
	answered := make(chan error, 1)
	go func() { answered <- list(bounded(t), conn) }()
	<-in
	now, cancel := context.WithCancel(t.Context())
	cancel()
	s.Stop(now)
	if err := <-answered; err == nil {
		t.Error("got success of a canceled call, want an error")
	}
}
