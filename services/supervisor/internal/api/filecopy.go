package api

import (
	"bufio"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/files"
)

func statToProto(s files.Stat) *containerv1.FileStat {
	return &containerv1.FileStat{Name: s.Name, Size: s.Size, Mode: s.Mode, ModifiedAt: timestamppb.New(s.Modified),
		LinkTarget: s.Link}
}

// StatPath implements FileServiceServer.
func (s *fileServer) StatPath(ctx context.Context, req *containerv1.StatPathRequest) (*containerv1.StatPathResponse,
	error) {
	st, err := s.files.Stat(ctx, req.GetReference(), req.GetPath())
	if err != nil {
		return nil, err
	}
	return &containerv1.StatPathResponse{Stat: statToProto(st)}, nil
}

// CopyFromContainer implements FileServiceServer.
func (s *fileServer) CopyFromContainer(req *containerv1.CopyFromContainerRequest,
	stream grpc.ServerStreamingServer[containerv1.CopyFromContainerResponse]) error {
	out := bufio.NewWriterSize(chunkWriter(func(p []byte) error {
		return stream.Send(&containerv1.CopyFromContainerResponse{
			Message: &containerv1.CopyFromContainerResponse_Data{Data: p}})
	}), saveChunk)
	begin := func(st files.Stat) error {
		return stream.Send(&containerv1.CopyFromContainerResponse{
			Message: &containerv1.CopyFromContainerResponse_Stat{Stat: statToProto(st)}})
	}
	if err := s.files.CopyFrom(stream.Context(), req.GetReference(), req.GetPath(), begin, out); err != nil {
		return err
	}
	return out.Flush()
}

// CopyToContainer implements FileServiceServer.
func (s *fileServer) CopyToContainer(stream grpc.ClientStreamingServer[containerv1.CopyToContainerRequest,
	containerv1.CopyToContainerResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	to := first.GetTarget()
	if to == nil {
		return fault.Invalidf("copy", "target", "the first message must contain the target")
	}

	in := &chunkReader{next: func() ([]byte, error) {
		m, err := stream.Recv()
		if err == nil && m.GetTarget() != nil {
			return nil, fault.Invalidf("copy", "target", "only the first message may contain the target")
		}
		return m.GetData(), err
	}}
	target := files.Target{Ref: to.GetReference(), Path: to.GetPath(), KeepOwner: to.GetKeepOwner(),
		Replace: to.GetReplace()}
	if err := s.files.CopyTo(stream.Context(), target, in); err != nil {
		return err
	}

	return stream.SendAndClose(&containerv1.CopyToContainerResponse{})
}
