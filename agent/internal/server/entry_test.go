package server_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fairlead/fairlead/agent/internal/server"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// connect serves s in a directory of the test and returns a connection to it.
func connect(t *testing.T, serve func(net.Listener) error, stop func()) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serve(l) }()
	t.Cleanup(stop)
	conn, err := grpc.NewClient("unix://"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// empty sends an empty response.
func empty(_ any, in grpc.ServerStream) error {
	if err := in.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	return in.SendMsg(new(emptypb.Empty))
}

func TestEntryRejectsServiceMethods(t *testing.T) {
	log := &lines{}
	entry, err := server.NewEntry(server.Config{Name: "fleet", Log: slog.New(slog.NewJSONHandler(log, nil)),
		Forward: empty, Forwarded: []string{"fairlead.dns.v1.NameService", "fairlead.container.v1.ContainerService"}})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error {
		return entry.Handle(in, "spiffe://f/manager/1")
	}))
	conn := connect(t, s.Serve, s.Stop)
	containers := containerv1.NewContainerServiceClient(conn)
	if _, err := containers.StopContainer(bounded(t), &containerv1.StopContainerRequest{}); err != nil {
		t.Errorf("method for administrators: got error %v", err)
	}
	if got := log.calls(t, "fairlead.container.v1.ContainerService/StopContainer"); len(got) != 1 ||
		!strings.Contains(got[0]["peer"].(string), "spiffe://f/manager/1") {
		t.Errorf("got log lines %v, want one with the certificate", got)
	}
	_, err = dnsv1.NewNameServiceClient(conn).Release(bounded(t), &dnsv1.ReleaseRequest{})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "is reserved for the services") {
		t.Errorf("method for services: got error %v", err)
	}
	if err := conn.Invoke(bounded(t), "/x.Y/Z", new(emptypb.Empty), new(emptypb.Empty)); status.Code(err) !=
		codes.PermissionDenied {
		t.Errorf("unknown method: got error %v", err)
	}
}

// TestCallsOfAnotherHostAreForwarded checks unary calls and streams of registered services.
func TestCallsOfAnotherHostAreForwarded(t *testing.T) {
	other := &names{logs: func(context.Context) error { return status.Error(codes.NotFound, "of the other host") }}
	there := grpc.NewServer(grpc.UnknownServiceHandler(empty))
	other.register(there)
	to := connect(t, there.Serve, there.Stop)
	here, err := server.New(server.Config{Name: "public", Log: slog.New(slog.DiscardHandler),
		Node: func(_ context.Context, node string) (server.NodeConn, error) {
			if node == "here" {
				return server.NodeConn{}, nil
			}
			return server.NodeConn{Conn: to}, nil
		}}, (&names{list: func(context.Context) error { return status.Error(codes.Aborted, "of this host") },
		logs: func(context.Context) error { return status.Error(codes.Aborted, "of this host") }}).register)
	if err != nil {
		t.Fatal(err)
	}
	here.Ready()
	conn := connect(t, here.Serve, func() { here.Stop(bounded(t)) })

	other.list = func(ctx context.Context) error {
		if node := noderpc.Of(ctx); node != "" {
			t.Errorf("got the address %q in a call that has arrived", node)
		}
		return nil
	}
	for node, want := range map[string]codes.Code{"": codes.Aborted, "here": codes.Aborted, "there": codes.OK} {
		res, err := dnsv1.NewNameServiceClient(conn).ListOwners(noderpc.To(bounded(t), node),
			&dnsv1.ListOwnersRequest{})
		if status.Code(err) != want || err == nil && len(res.GetOwners()) != 1 {
			t.Errorf("call for %q: got %v, error %v, want %v", node, res, err, want)
		}
		stream, err := containerv1.NewContainerServiceClient(conn).ReadLogs(noderpc.To(bounded(t), node),
			&containerv1.ReadLogsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if got := status.Code(err); (got == codes.NotFound) != (node == "there") {
			t.Errorf("stream for %q: got error %v", node, err)
		}
	}
}

func TestServerWithoutFleetRejectsOtherHosts(t *testing.T) {
	s, err := server.New(server.Config{Name: "net", Log: slog.New(slog.DiscardHandler)},
		(&names{list: func(context.Context) error { return nil }}).register)
	if err != nil {
		t.Fatal(err)
	}
	s.Ready()
	conn := connect(t, s.Serve, func() { s.Stop(bounded(t)) })
	_, err = dnsv1.NewNameServiceClient(conn).ListOwners(noderpc.To(bounded(t), "two"), &dnsv1.ListOwnersRequest{})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got error %v, want InvalidArgument", err)
	}
}
