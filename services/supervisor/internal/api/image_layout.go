package api

import (
	"bufio"
	"context"
	"io"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// GetImageLayout implements ImageServiceServer.
func (s *imageServer) GetImageLayout(_ context.Context,
	req *containerv1.GetImageLayoutRequest) (*containerv1.GetImageLayoutResponse, error) {
	manifest, config, err := s.images.Layout(req.GetReference(), req.GetPlatform())
	if err != nil {
		return nil, err
	}
	return &containerv1.GetImageLayoutResponse{Manifest: manifest, Config: config}, nil
}

// ReadImageLayer implements ImageServiceServer.
func (s *imageServer) ReadImageLayer(req *containerv1.ReadImageLayerRequest,
	stream grpc.ServerStreamingServer[containerv1.ReadImageLayerResponse]) error {
	if req.GetOffset() < 0 {
		return fault.Invalidf("layer", "offset", "%d is negative", req.GetOffset())
	}
	out := bufio.NewWriterSize(chunkWriter(func(p []byte) error {
		return stream.Send(&containerv1.ReadImageLayerResponse{Data: p})
	}), saveChunk)
	if err := s.images.ReadLayer(stream.Context(), req.GetDiffId(), &tail{skip: req.GetOffset(), w: out}); err != nil {
		return err
	}
	return out.Flush()
}

// tail writes all except the first bytes.
type tail struct {
	skip int64
	w    io.Writer
}

// Write writes what is not skipped.
func (t *tail) Write(p []byte) (int, error) {
	n := int(min(t.skip, int64(len(p))))
	t.skip -= int64(n)
	if n == len(p) {
		return n, nil
	}
	written, err := t.w.Write(p[n:])
	return n + written, err
}
