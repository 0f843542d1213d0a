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

	"github.com/fairlead/fairlead/agent/proxy"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const patience = 10 * time.Second

// behind is the service that calls are passed on to.
type behind struct {
	dnsv1.UnimplementedNameServiceServer
	containerv1.UnimplementedImageServiceServer
	begun, gone chan struct{}
}

func (b *behind) Register(ctx context.Context, r *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("head", strings.Join(md.Get("ask"), "")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("tail", "end"))
	return &dnsv1.RegisterResponse{Files: &dnsv1.NameFiles{HostsPath: r.GetHostname()}}, nil
}

func (b *behind) Release(context.Context, *dnsv1.ReleaseRequest) (*dnsv1.ReleaseResponse, error) {
	return nil, faultrpc.ToStatus(fault.New(fault.Busy, "owner x", "is busy", fault.WithHint("wait"),
		fault.WithReason("WHY")))
}

func (b *behind) ListOwners(ctx context.Context, _ *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	close(b.begun)
	<-ctx.Done()
	close(b.gone)
	return nil, ctx.Err()
}

func (b *behind) LoadImage(s grpc.ClientStreamingServer[containerv1.LoadImageRequest,
	containerv1.LoadImageResponse]) error {
	var tags []string
	for {
		r, err := s.Recv()
		if err != nil {
			return s.SendAndClose(&containerv1.LoadImageResponse{Images: []*containerv1.Image{{Id: strings.Join(tags,
				" ")}}})
		}
		tags = append(tags, string(r.GetData()))
	}
}

func (b *behind) PullImage(_ *containerv1.PullImageRequest,
	s grpc.ServerStreamingServer[containerv1.PullImageResponse]) error {
	for i := range 3 {
		if err := s.Send(&containerv1.PullImageResponse{Event: &containerv1.PullImageResponse_Image{Image: &containerv1.Image{Id: fmt.Sprint(i)}}}); err != nil {
			return err
		}
	}
	return nil
}

// serve serves s in memory and connects to it.
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

// through connects to a proxy that has b behind it for fairlead services only.
func through(t *testing.T, b *behind) (context.Context, *grpc.ClientConn) {
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
	})))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx, serve(t, front)
}

func TestACallGoesThroughWithItsMetadata(t *testing.T) {
	ctx, conn := through(t, new(behind))
	var head, tail metadata.MD
	r, err := dnsv1.NewNameServiceClient(conn).Register(metadata.AppendToOutgoingContext(ctx, "ask", "me"),
		&dnsv1.RegisterRequest{Hostname: "web"}, grpc.Header(&head), grpc.Trailer(&tail))
	if err != nil || r.GetFiles().GetHostsPath() != "web" {
		t.Errorf("%v, %v", r, err)
	}
	if fmt.Sprint(head.Get("head"), tail.Get("tail")) != "[me] [end]" {
		t.Errorf("header %v, trailer %v", head, tail)
	}
}

func TestAFaultGoesThroughWhole(t *testing.T) {
	ctx, conn := through(t, new(behind))
	_, err := dnsv1.NewNameServiceClient(conn).Release(ctx, &dnsv1.ReleaseRequest{})
	if got := faultrpc.FromStatus(err); !fault.Is(got, fault.Busy) || fault.ReasonOf(got) != "WHY" ||
		got.Error() != "owner x: is busy; wait" {
		t.Errorf("%v", got)
	}
}

func TestStreamsGoThroughInBothDirections(t *testing.T) {
	ctx, conn := through(t, new(behind))
	images := containerv1.NewImageServiceClient(conn)
	up, err := images.LoadImage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"a", "b", "c"} {
		if err := up.Send(&containerv1.LoadImageRequest{Data: []byte(part)}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := up.CloseAndRecv(); err != nil || r.GetImages()[0].GetId() != "a b c" {
		t.Errorf("%v, %v", r, err)
	}
	down, err := images.PullImage(ctx, &containerv1.PullImageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if r, err := down.Recv(); err != nil || r.GetImage().GetId() != fmt.Sprint(i) {
			t.Errorf("%d: %v, %v", i, r, err)
		}
	}
}

func TestACancelReachesTheOtherSide(t *testing.T) {
	b := &behind{begun: make(chan struct{}), gone: make(chan struct{})}
	ctx, conn := through(t, b)
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-b.begun:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := dnsv1.NewNameServiceClient(conn).ListOwners(short,
		&dnsv1.ListOwnersRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("a call that never answers ended with %v, want it cancelled", err)
	}
	select {
	case <-b.gone:
	case <-ctx.Done():
		t.Error("the other side still works on it, or was never asked")
	}
}

func TestAMethodThatNobodyHasIsUnimplemented(t *testing.T) {
	ctx, conn := through(t, new(behind))
	err := conn.Invoke(ctx, "/other.Service/Do", &dnsv1.ReleaseRequest{}, &dnsv1.ReleaseResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}
