package api

import (
	"bufio"
	"context"
	"io"

	"google.golang.org/grpc"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/files"
)

// Files is the part of package files that the handlers use.
type Files interface {
	Export(ctx context.Context, ref string, w io.Writer) error
	Stat(ctx context.Context, ref, name string) (files.Stat, error)
	CopyFrom(ctx context.Context, ref, name string, begin func(files.Stat) error, w io.Writer) error
	CopyTo(ctx context.Context, to files.Target, in io.Reader) error
	Changes(ctx context.Context, ref string) ([]files.Change, error)
}

// fileServer implements fairlead.container.v1.FileService.
type fileServer struct {
	containerv1.UnimplementedFileServiceServer
	files Files
}

// ExportContainer implements FileServiceServer.
func (s *fileServer) ExportContainer(req *containerv1.ExportContainerRequest,
	stream grpc.ServerStreamingServer[containerv1.ExportContainerResponse]) error {
	out := bufio.NewWriterSize(chunkWriter(func(p []byte) error {
		return stream.Send(&containerv1.ExportContainerResponse{Data: p})
	}), saveChunk)
	if err := s.files.Export(stream.Context(), req.GetReference(), out); err != nil {
		return err
	}
	return out.Flush()
}

var changeKinds = map[files.Kind]containerv1.FileChangeKind{
	files.Changed: containerv1.FileChangeKind_FILE_CHANGE_KIND_CHANGED,
	files.Added:   containerv1.FileChangeKind_FILE_CHANGE_KIND_ADDED,
	files.Deleted: containerv1.FileChangeKind_FILE_CHANGE_KIND_DELETED,
}

// ListChanges implements FileServiceServer.
func (s *fileServer) ListChanges(ctx context.Context,
	req *containerv1.ListChangesRequest) (*containerv1.ListChangesResponse, error) {
	changes, err := s.files.Changes(ctx, req.GetReference())
	if err != nil {
		return nil, err
	}
	out := &containerv1.ListChangesResponse{}
	for _, c := range changes {
		out.Changes = append(out.Changes, &containerv1.FileChange{Path: c.Path, Kind: changeKinds[c.Kind]})
	}
	return out, nil
}
