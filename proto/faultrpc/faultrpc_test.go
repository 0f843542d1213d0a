package faultrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// failing returns the same error for every call.
type failing struct {
	dnsv1.UnimplementedNameServiceServer
	containerv1.UnimplementedImageServiceServer
	err error
}

func (f *failing) ListOwners(context.Context, *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	return &dnsv1.ListOwnersResponse{}, faultrpc.ToStatus(f.err)
}

func (f *failing) PullImage(*containerv1.PullImageRequest,
	grpc.ServerStreamingServer[containerv1.PullImageResponse]) error {
	return faultrpc.ToStatus(f.err)
}

// connect returns an in-memory connection to f.
func connect(t *testing.T, f *failing) (context.Context, *grpc.ClientConn) {
	t.Helper()
	s, l := grpc.NewServer(), bufconn.Listen(1<<16)
	dnsv1.RegisterNameServiceServer(s, f)
	containerv1.RegisterImageServiceServer(s, f)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(faultrpc.UnaryClient), grpc.WithStreamInterceptor(faultrpc.StreamClient))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx, conn
}

func TestCallReturnsSameFault(t *testing.T) {
	f := new(failing)
	ctx, conn := connect(t, f)
	for kind := fault.Invalid; kind <= fault.Internal; kind++ {
		whole := &fault.Fault{Kind: kind, Subject: "port 80", Field: "publish", Message: "is taken",
			Hint: "take another", Reason: "WHY", Step: "publish ports"}
		f.err = fmt.Errorf("wrapped: %w", whole)
		_, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{})
		compare(t, err, whole)
		pull, err := containerv1.NewImageServiceClient(conn).PullImage(ctx, &containerv1.PullImageRequest{})
		if err == nil {
			_, err = pull.Recv()
		}
		compare(t, err, whole)
	}
}

func compare(t *testing.T, err error, want *fault.Fault) {
	t.Helper()
	if got, ok := errors.AsType[*fault.Fault](err); !ok || *got != *want {
		t.Errorf("got %#v, want %#v", err, want)
	}
}

func TestCauseIsSentAsText(t *testing.T) {
	f := &failing{err: fault.New(fault.Unavailable, "registry", "does not answer",
		fault.WithCause(io.ErrUnexpectedEOF))}
	ctx, conn := connect(t, f)
	_, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{})
	if err == nil || err.Error() != f.err.Error() {
		t.Errorf("got %v, want %v", err, f.err)
	}
}

func TestSuccessEOFAndCancelAreKept(t *testing.T) {
	f := new(failing)
	ctx, conn := connect(t, f)
	if _, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{}); err != nil {
		t.Errorf("success became %v", err)
	}
	pull, err := containerv1.NewImageServiceClient(conn).PullImage(ctx, &containerv1.PullImageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pull.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of a stream became %v", err)
	}
	f.err = context.Canceled
	if _, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("a cancel became %v", err)
	}
}

func TestOtherErrorsAreConvertedByCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
		kind fault.Kind
	}{
		{io.EOF, codes.Internal, fault.Internal},
		{fmt.Errorf("late: %w", context.DeadlineExceeded), codes.DeadlineExceeded, fault.Unavailable},
		{status.Error(codes.Unauthenticated, "who?"), codes.Unauthenticated, fault.Denied},
		{status.Error(codes.OutOfRange, "too far"), codes.OutOfRange, fault.Invalid},
		{status.Error(codes.NotFound, "no"), codes.NotFound, fault.NotFound},
		{status.Error(codes.Unimplemented, "no"), codes.Unimplemented, fault.Internal},
	} {
		sent := faultrpc.ToStatus(c.err)
		if status.Code(sent) != c.code || fault.KindOf(faultrpc.FromStatus(sent)) != c.kind {
			t.Errorf("%v became %v, and then %v", c.err, sent, fault.KindOf(faultrpc.FromStatus(sent)))
		}
	}
	if faultrpc.ToStatus(nil) != nil || faultrpc.FromStatus(nil) != nil {
		t.Error("nil did not stay nil")
	}
	if err := faultrpc.FromStatus(io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("an error without a status became %v", err)
	}
}

func TestCallReturnsJoinedFaults(t *testing.T) {
	f := new(failing)
	ctx, conn := connect(t, f)
	one, two := fault.New(fault.Invalid, "bip", "is wrong", fault.WithHint("correct it")),
		fault.New(fault.Busy, "mtu", "is taken")
	f.err = errors.Join(fmt.Errorf("wrapped: %w", one), errors.Join(two, nil))
	_, err := dnsv1.NewNameServiceClient(conn).ListOwners(ctx, &dnsv1.ListOwnersRequest{})
	if want := "bip: is wrong; correct it\nmtu: is taken"; err == nil || err.Error() != want ||
		!fault.Is(err, fault.Invalid) {
		t.Errorf("%v; want %s", err, want)
	}
}
