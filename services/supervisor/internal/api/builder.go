package api

import (
	"context"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/builder"
)

// Builder is the part of package builder that the handlers use.
type Builder interface {
	Use(ctx context.Context, onlyIfUsed bool) (*builder.Use, error)
}

// builderServer implements fairlead.container.v1.BuilderService.
type builderServer struct {
	containerv1.UnimplementedBuilderServiceServer
	builder Builder
}

// UseBuilder implements BuilderServiceServer.
func (s *builderServer) UseBuilder(req *containerv1.UseBuilderRequest,
	stream grpc.ServerStreamingServer[containerv1.UseBuilderResponse]) error {
	use, err := s.builder.Use(stream.Context(), req.GetOnlyIfUsed())
	if err != nil {
		return err
	}
	defer use.Release()
	if err := stream.Send(&containerv1.UseBuilderResponse{SocketPath: use.Socket}); err != nil {
		return err
	}
	select {
	case <-use.Ended:
		return fault.New(fault.Unavailable, "BuildKit", "has ended")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}
