package buildkit

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// builderUse is a use of BuildKit that ends when a channel is closed.
type builderUse struct {
	containerv1.BuilderServiceClient
	grpc.ServerStreamingClient[containerv1.UseBuilderResponse]
	first chan *containerv1.UseBuilderResponse
}

func (u *builderUse) UseBuilder(context.Context, *containerv1.UseBuilderRequest,
	...grpc.CallOption) (grpc.ServerStreamingClient[containerv1.UseBuilderResponse], error) {
	return u, nil
}

func (u *builderUse) Recv() (*containerv1.UseBuilderResponse, error) {
	if m, ok := <-u.first; ok {
		return m, nil
	}
	return nil, io.EOF
}

// TestBuildEndsWithTheSupervisor checks that a build fails when the use of BuildKit ends, although BuildKit itself
// runs: it waits for its connections.
func TestBuildEndsWithTheSupervisor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	building, ended := make(chan struct{}), make(chan struct{})
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(
		func(_ any, in grpc.ServerStream) error {
			close(building)
			<-in.Context().Done()
			close(ended)
			return in.Context().Err()
		}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	use := &builderUse{first: make(chan *containerv1.UseBuilderResponse, 1)}
	use.first <- &containerv1.UseBuilderResponse{SocketPath: socket}
	g := New(Config{Builder: use})
	bk, err := g.Open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer bk.Close()
	go func() {
		<-building
		close(use.first)
	}()
	_, err = g.solve(t.Context(), bk, wire.Message{}.WithText(solveRef, "ref").Bytes())
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want that BuildKit has ended", err)
	}
	<-ended
}
