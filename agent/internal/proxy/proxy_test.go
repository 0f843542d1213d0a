package proxy_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fairlead/fairlead/agent/internal/proxy"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const timeout = time.Minute

// backend implements the services that the proxy forwards to.
type backend struct {
	dnsv1.UnimplementedNameServiceServer
	containerv1.UnimplementedImageServiceServer
	started, canceled chan struct{}
}

func (b *backend) Register(ctx context.Context, r *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("head", strings.Join(md.Get("request"), "")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("tail", "end"))
	return &dnsv1.RegisterResponse{Files: &dnsv1.NameFiles{HostsPath: r.GetHostname()}}, nil
}

func (b *backend) Release(context.Context, *dnsv1.ReleaseRequest) (*dnsv1.ReleaseResponse, error) {
	return nil, faultrpc.ToStatus(fault.New(fault.Busy, "owner x", "is busy", fault.WithHint("wait"),
		fault.WithReason("WHY")))
}

func (b *backend) ListOwners(ctx context.Context, _ *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	close(b.started)
	<-ctx.Done()
	close(b.canceled)
	return nil, ctx.Err()
}

func (b *backend) ImportImage(s grpc.ClientStreamingServer[containerv1.ImportImageRequest,
	containerv1.ImportImageResponse]) error {
	var tags []string
	for {
		r, err := s.Recv()
		if err != nil {
			return s.SendAndClose(&containerv1.ImportImageResponse{Image: &containerv1.Image{Id: strings.Join(tags,
				" ")}})
		}
		tags = append(tags, string(r.GetData()))
	}
}

func (b *backend) PullImage(_ *containerv1.PullImageRequest,
	s grpc.ServerStreamingServer[containerv1.PullImageResponse]) error {
	for i := range 3 {
		image := &containerv1.PullImageResponse_Image{Image: &containerv1.Image{Id: fmt.Sprint(i)}}
		if err := s.Send(&containerv1.PullImageResponse{Event: image}); err != nil {
			return err
		}
	}
	return nil
}

// serve serves s in memory and returns a connection to it.
func serve(t *testing.T, s *grpc.Server) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dialProxy connects to a proxy that forwards calls of Fairlead services to b.
func dialProxy(t *testing.T, b *backend) (context.Context, *grpc.ClientConn) {
	t.Helper()
	back := grpc.NewServer()
	dnsv1.RegisterNameServiceServer(back, b)
	containerv1.RegisterImageServiceServer(back, b)
	to := serve(t, back)
	front := grpc.NewServer(grpc.UnknownServiceHandler(proxy.Handler(func(method string) *grpc.ClientConn {
		if strings.HasPrefix(method, "/fairlead.") {
			return to
		}
		return nil
	}, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx, serve(t, front)
}

func TestCallForwardedWithMetadata(t *testing.T) {
	ctx, conn := dialProxy(t, new(backend))
	var head, tail metadata.MD
	r, err := dnsv1.NewNameServiceClient(conn).Register(metadata.AppendToOutgoingContext(ctx, "request", "me"),
		&dnsv1.RegisterRequest{Hostname: "web"}, grpc.Header(&head), grpc.Trailer(&tail))
	if err != nil || r.GetFiles().GetHostsPath() != "web" {
		t.Errorf("got response %v, error %v", r, err)
	}
	if fmt.Sprint(head.Get("head"), tail.Get("tail")) != "[me] [end]" {
		t.Errorf("got header %v, trailer %v, want me, end", head, tail)
	}
}

func TestFaultForwardedUnchanged(t *testing.T) {
	ctx, conn := dialProxy(t, new(backend))
	_, err := dnsv1.NewNameServiceClient(conn).Release(ctx, &dnsv1.ReleaseRequest{})
	if got := faultrpc.FromStatus(err); !fault.Is(got, fault.Busy) || fault.ReasonOf(got) != "WHY" ||
		got.Error() != "owner x: is busy; wait" {
		t.Errorf("got fault %v", got)
	}
}

func TestStreamsForwardedInBothDirections(t *testing.T) {
	ctx, conn := dialProxy(t, new(backend))
	images := containerv1.NewImageServiceClient(conn)
	up, err := images.ImportImage(ctx)
	if err != nil {
		t.Fatal(err)
	}

	for _, part := range []string{"a", "b", "c"} {
		if err := up.Send(&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Data{
			Data: []byte(part)}}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := up.CloseAndRecv(); err != nil || r.GetImage().GetId() != "a b c" {
		t.Errorf("got response %v, error %v", r, err)
	}

	down, err := images.PullImage(ctx, &containerv1.PullImageRequest{})
	if err != nil {
		t.Fatal(err)
	}

	for i := range 3 {
		if r, err := down.Recv(); err != nil || r.GetImage().GetId() != fmt.Sprint(i) {
			t.Errorf("message %d: got %v, error %v", i, r, err)
		}
	}
}

func TestCancelForwarded(t *testing.T) {
	b := &backend{started: make(chan struct{}), canceled: make(chan struct{})}
	ctx, conn := dialProxy(t, b)
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-b.started:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := dnsv1.NewNameServiceClient(conn).ListOwners(short,
		&dnsv1.ListOwnersRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("got error %v, want Canceled", err)
	}

	select {
	case <-b.canceled:
	case <-ctx.Done():
		t.Error("call not canceled in the backend")
	}
}

func TestUnknownMethodUnimplemented(t *testing.T) {
	ctx, conn := dialProxy(t, new(backend))
	err := conn.Invoke(ctx, "/other.Service/Do", &dnsv1.ReleaseRequest{}, &dnsv1.ReleaseResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got error %v, want Unimplemented", err)
	}
}
