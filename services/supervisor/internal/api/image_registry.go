package api

import (
	"bufio"
	"context"

	"google.golang.org/grpc"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// PruneImages implements ImageServiceServer.
func (s *imageServer) PruneImages(_ context.Context,
	req *containerv1.PruneImagesRequest) (*containerv1.PruneImagesResponse, error) {
	done, err := s.images.Prune(req.GetAll(), req.GetFilters())
	if err != nil {
		return nil, err
	}
	return &containerv1.PruneImagesResponse{Untagged: done.Untagged, Deleted: done.Deleted,
		Reclaimed: done.Reclaimed}, nil
}

// GetImageHistory implements ImageServiceServer.
func (s *imageServer) GetImageHistory(_ context.Context,
	req *containerv1.GetImageHistoryRequest) (*containerv1.GetImageHistoryResponse, error) {
	steps, err := s.images.History(req.GetReference(), req.GetPlatform())
	if err != nil {
		return nil, err
	}

	out := &containerv1.GetImageHistoryResponse{}
	for _, step := range steps {
		out.History = append(out.History, imageStepToProto(step))
	}

	return out, nil
}

// saveChunk is the size of one message of an archive. A message fits gRPC's buffers of 1 MB, which are
// cleared as a whole for each use.
const saveChunk = 1<<20 - 1<<10

// SaveImages implements ImageServiceServer.
func (s *imageServer) SaveImages(req *containerv1.SaveImagesRequest,
	stream grpc.ServerStreamingServer[containerv1.SaveImagesResponse]) error {
	out := bufio.NewWriterSize(chunkWriter(func(p []byte) error {
		return stream.Send(&containerv1.SaveImagesResponse{Data: p})
	}), saveChunk)
	if err := s.images.Save(stream.Context(), req.GetReferences(), req.GetPlatform(), out); err != nil {
		return err
	}
	return out.Flush()
}

// chunkWriter sends each write as one message.
type chunkWriter func([]byte) error

// Write sends the bytes in messages of at most saveChunk.
func (w chunkWriter) Write(p []byte) (int, error) {
	for at := 0; at < len(p); at += saveChunk {
		if err := w(p[at:min(at+saveChunk, len(p))]); err != nil {
			return at, err
		}
	}
	return len(p), nil
}

// PushImage implements ImageServiceServer.
func (s *imageServer) PushImage(req *containerv1.PushImageRequest,
	stream grpc.ServerStreamingServer[containerv1.PushImageResponse]) error {
	return s.images.Push(stream.Context(), image.PushRequest{
		Reference: req.GetReference(), Platform: req.GetPlatform(), AllTags: req.GetAllTags(),
		Credentials: credentialsFromProto(req.GetCredentials()),
		Progress: func(p image.Progress) {
			// A failed stream cancels its context, which stops the push.
			_ = stream.Send(&containerv1.PushImageResponse{Event: &containerv1.PushImageResponse_Progress{
				Progress: imageProgressToProto(p)}})
		},
		Pushed: func(p image.Pushed) {
			_ = stream.Send(&containerv1.PushImageResponse{Event: &containerv1.PushImageResponse_Pushed{
				Pushed: &containerv1.PushedImage{Reference: p.Reference, Digest: p.Digest, Size: p.Size}}})
		},
	})
}

// GetRemoteImage implements ImageServiceServer.
func (s *imageServer) GetRemoteImage(ctx context.Context,
	req *containerv1.GetRemoteImageRequest) (*containerv1.GetRemoteImageResponse, error) {
	found, err := s.images.Describe(ctx, req.GetReference(), credentialsFromProto(req.GetCredentials()))
	if err != nil {
		return nil, err
	}
	return &containerv1.GetRemoteImageResponse{Digest: found.Digest, MediaType: found.MediaType, Size: found.Size,
		Platforms: found.Platforms}, nil
}

// SearchImages implements ImageServiceServer.
func (s *imageServer) SearchImages(ctx context.Context,
	req *containerv1.SearchImagesRequest) (*containerv1.SearchImagesResponse, error) {
	found, err := s.images.Search(ctx, req.GetTerm(), int(req.GetLimit()), credentialsFromProto(req.GetCredentials()))
	if err != nil {
		return nil, err
	}

	out := &containerv1.SearchImagesResponse{}
	for _, f := range found {
		out.Images = append(out.Images, foundImageToProto(f))
	}

	return out, nil
}

// CheckCredentials implements ImageServiceServer.
func (s *imageServer) CheckCredentials(ctx context.Context,
	req *containerv1.CheckCredentialsRequest) (*containerv1.CheckCredentialsResponse, error) {
	err := s.images.CheckCredentials(ctx, req.GetServer(), credentialsFromProto(req.GetCredentials()))
	if err != nil {
		return nil, err
	}
	return &containerv1.CheckCredentialsResponse{}, nil
}
