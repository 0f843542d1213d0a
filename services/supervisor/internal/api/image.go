package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images is the part of package image that the handlers use.
type Images interface {
	Pull(ctx context.Context, req image.PullRequest) (*store.Image, error)
	PullAll(ctx context.Context, req image.PullRequest, each func(*store.Image) error) error
	LoadReporting(ctx context.Context, in io.Reader, platform string,
		progress func(image.Progress)) ([]*store.Image, error)
	Import(ctx context.Context, req image.ImportRequest, in io.Reader) (*store.Image, error)
	Select(filters []string) ([]*store.Image, error)
	Resolve(ref, platform string) (*store.Image, error)
	Containers(img *store.Image) int
	LayerPaths(img *store.Image) []string
	History(ref, platform string) ([]image.Step, error)
	Tag(ref, tag string) error
	Remove(ref, platform string, force bool) (*image.Removal, error)
	Prune(all bool, filters []string) (*image.Removal, error)
	Save(ctx context.Context, refs []string, platform string, out io.Writer) error
	Layout(ref, platform string) (manifest, config []byte, err error)
	ReadLayer(ctx context.Context, diffID string, out io.Writer) error
	Push(ctx context.Context, req image.PushRequest) error
	Describe(ctx context.Context, ref string, cred image.Credentials) (*image.Remote, error)
	Search(ctx context.Context, term string, limit int, cred image.Credentials) ([]image.Found, error)
	CheckCredentials(ctx context.Context, server string, cred image.Credentials) error
}

// imageServer implements fairlead.container.v1.ImageService.
type imageServer struct {
	containerv1.UnimplementedImageServiceServer
	images  Images
	commits Commits
}

// PullImage implements ImageServiceServer.
func (s *imageServer) PullImage(req *containerv1.PullImageRequest,
	stream grpc.ServerStreamingServer[containerv1.PullImageResponse]) error {
	pulled := func(img *store.Image) error {
		return stream.Send(
			&containerv1.PullImageResponse{Event: &containerv1.PullImageResponse_Image{Image: imageToProto(img)}})
	}
	pull := image.PullRequest{
		Reference: req.GetReference(), Platform: req.GetPlatform(),
		Username: req.GetCredentials().GetUsername(), Password: req.GetCredentials().GetPassword(),
		IdentityToken: req.GetCredentials().GetIdentityToken(),
		Progress: func(p image.Progress) {
			// A failed stream cancels its context, which stops the pull.
			_ = stream.Send(&containerv1.PullImageResponse{Event: &containerv1.PullImageResponse_Progress{
				Progress: &containerv1.Progress{Step: p.Step, Subject: p.Subject, Done: p.Done, Total: p.Total}}})
		},
	}
	if req.GetAllTags() {
		return s.images.PullAll(stream.Context(), pull, pulled)
	}

	img, err := s.images.Pull(stream.Context(), pull)
	if err != nil {
		return err
	}
	return pulled(img)
}

// LoadImage implements ImageServiceServer.
func (s *imageServer) LoadImage(stream grpc.BidiStreamingServer[containerv1.LoadImageRequest,
	containerv1.LoadImageResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	in := &chunkReader{rest: first.GetData(), next: func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetData(), err
	}}
	loaded, err := s.images.LoadReporting(stream.Context(), in, first.GetPlatform(), func(p image.Progress) {
		// A failed stream cancels its context, which stops the load.
		_ = stream.Send(&containerv1.LoadImageResponse{Progress: imageProgressToProto(p)})
	})
	if err != nil {
		return err
	}

	out := &containerv1.LoadImageResponse{}
	for _, img := range loaded {
		out.Images = append(out.Images, imageToProto(img))
	}

	return stream.Send(out)
}

// ImportImage implements ImageServiceServer.
func (s *imageServer) ImportImage(stream grpc.ClientStreamingServer[containerv1.ImportImageRequest,
	containerv1.ImportImageResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	opts := first.GetOptions()
	if opts == nil {
		return fault.Invalidf("import", "options", "the first message must contain the options")
	}

	in := &chunkReader{next: func() ([]byte, error) {
		m, err := stream.Recv()
		if err == nil && m.GetOptions() != nil {
			return nil, fault.Invalidf("import", "options", "only the first message may contain options")
		}
		return m.GetData(), err
	}}
	img, err := s.images.Import(stream.Context(), image.ImportRequest{
		Reference: opts.GetReference(), Changes: opts.GetChanges(), Platform: opts.GetPlatform(),
		Message: opts.GetMessage()}, in)
	if err != nil {
		return err
	}

	return stream.SendAndClose(&containerv1.ImportImageResponse{Image: imageToProto(img)})
}

// ListImages implements ImageServiceServer.
func (s *imageServer) ListImages(_ context.Context,
	req *containerv1.ListImagesRequest) (*containerv1.ListImagesResponse, error) {
	selected, err := s.images.Select(req.GetFilters())
	if err != nil {
		return nil, err
	}

	message := func(i *store.Image) *containerv1.Image {
		m := imageToProto(i)
		m.Containers = int64(s.images.Containers(i))
		return m
	}
	out, next, err := page(selected, req.GetPageToken(),
		func(i *store.Image) position { return positionOf(i.CreatedAt, i.ID) }, message)
	if err != nil {
		return nil, err
	}
	return &containerv1.ListImagesResponse{Images: out, NextPageToken: next}, nil
}

// GetImage implements ImageServiceServer.
func (s *imageServer) GetImage(_ context.Context, req *containerv1.GetImageRequest) (*containerv1.GetImageResponse,
	error) {
	img, err := s.images.Resolve(req.GetReference(), req.GetPlatform())
	if err != nil {
		return nil, err
	}

	m := imageToProto(img)
	m.Containers, m.LayerDirectories = int64(s.images.Containers(img)), s.images.LayerPaths(img)
	return &containerv1.GetImageResponse{Image: m}, nil
}

// TagImage implements ImageServiceServer.
func (s *imageServer) TagImage(_ context.Context, req *containerv1.TagImageRequest) (*containerv1.TagImageResponse,
	error) {
	if err := s.images.Tag(req.GetReference(), req.GetTag()); err != nil {
		return nil, err
	}
	return &containerv1.TagImageResponse{}, nil
}

// RemoveImage implements ImageServiceServer.
func (s *imageServer) RemoveImage(_ context.Context,
	req *containerv1.RemoveImageRequest) (*containerv1.RemoveImageResponse, error) {
	done, err := s.images.Remove(req.GetReference(), req.GetPlatform(), req.GetForce())
	if err != nil {
		return nil, err
	}
	return &containerv1.RemoveImageResponse{Untagged: done.Untagged, Deleted: done.Deleted}, nil
}

// chunkReader reads the chunks of a stream as one io.Reader.
type chunkReader struct {
	next func() ([]byte, error)
	rest []byte
}

// Read returns the rest of the last chunk, or the next one.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		var err error
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
