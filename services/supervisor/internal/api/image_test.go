package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/api"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// fakeImages returns the configured images and records its calls.
type fakeImages struct {
	api.Images
	asked any
	read  []byte
	err   error
	steps []image.Progress
}

var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fakeImages) image() *store.Image {
	return &store.Image{ID: "sha256:aa", Tags: []string{"docker.io/library/nginx:latest", "r.example:5000/x:1"},
		Digests: []string{
			"docker.io/library/nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		Layers: []string{"sha256:l1"}, Size: 7, Platform: "linux/amd64", CreatedAt: made, Config: []byte("{}")}
}

func (f *fakeImages) Pull(_ context.Context, req image.PullRequest) (*store.Image, error) {
	for _, s := range f.steps {
		req.Progress(s)
	}
	req.Progress = nil
	f.asked = req
	return f.image(), f.err
}

func (f *fakeImages) LoadReporting(_ context.Context, in io.Reader, _ string,
	progress func(image.Progress)) ([]*store.Image, error) {
	var err error
	f.read, err = io.ReadAll(in)
	progress(image.Progress{Step: "unpacking", Subject: "abc", Done: 1, Total: 2})
	return []*store.Image{f.image()}, errors.Join(err, f.err)
}

func (f *fakeImages) Import(_ context.Context, req image.ImportRequest, in io.Reader) (*store.Image, error) {
	var err error
	f.asked = req
	f.read, err = io.ReadAll(in)
	return f.image(), errors.Join(err, f.err)
}

func (f *fakeImages) Select([]string) ([]*store.Image, error) { return []*store.Image{f.image()}, nil }

func (f *fakeImages) Containers(*store.Image) int { return 0 }

func (f *fakeImages) LayerPaths(*store.Image) []string { return nil }

func (f *fakeImages) Resolve(ref, _ string) (*store.Image, error) {
	f.asked = ref
	return f.image(), f.err
}

func (f *fakeImages) Tag(ref, tag string) error {
	f.asked = []string{ref, tag}
	return f.err
}

func (f *fakeImages) Remove(ref, _ string, force bool) (*image.Removal, error) {
	f.asked = []any{ref, force}
	return &image.Removal{Untagged: []string{"nginx:latest"}, Deleted: []string{"sha256:aa"}}, f.err
}

// wanted returns the message of the image that fakeImages returns.
func wanted() *containerv1.Image {
	return &containerv1.Image{Id: "sha256:aa", Tags: []string{"nginx:latest", "r.example:5000/x:1"},
		Digests: []string{"nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		Layers:  []string{"sha256:l1"}, Size: 7, Platform: "linux/amd64", CreatedAt: timestamppb.New(made),
		Config: []byte("{}")}
}

func imageClient(t *testing.T, f *fakeImages) (containerv1.ImageServiceClient, context.Context) {
	t.Helper()

	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any,
			error) {
			resp, err := h(ctx, req)
			return resp, faultrpc.ToStatus(err)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo,
			h grpc.StreamHandler) error {
			return faultrpc.ToStatus(h(srv, ss))
		}))
	api.New(api.Config{Images: f}).Register(srv)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient("passthrough:images", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(faultrpc.UnaryClient), grpc.WithStreamInterceptor(faultrpc.StreamClient))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return containerv1.NewImageServiceClient(conn), ctx
}

func mustEqual(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, protocmp.Transform(), cmp.AllowUnexported()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestPullImageStreamsProgressThenImage(t *testing.T) {
	f := &fakeImages{steps: []image.Progress{{Step: "pulling", Subject: "nginx:latest"},
		{Step: "downloading", Subject: "abc", Done: 1, Total: 2}}}
	c, ctx := imageClient(t, f)
	stream, err := c.PullImage(ctx, &containerv1.PullImageRequest{Reference: "nginx", Platform: "linux/arm64",
		Credentials: &containerv1.Credentials{Username: "u", Password: "p", IdentityToken: "i"}})
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []*containerv1.PullImageResponse{
		{Event: &containerv1.PullImageResponse_Progress{Progress: &containerv1.Progress{Step: "pulling",
			Subject: "nginx:latest"}}},
		{Event: &containerv1.PullImageResponse_Progress{Progress: &containerv1.Progress{Step: "downloading",
			Subject: "abc", Done: 1, Total: 2}}},
		{Event: &containerv1.PullImageResponse_Image{Image: wanted()}},
	} {
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "message", want, got)
	}

	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the image: got %v, want EOF", err)
	}

	mustEqual(t, "request", image.PullRequest{Reference: "nginx", Platform: "linux/arm64", Username: "u", Password: "p",
		IdentityToken: "i"}, f.asked)
}

func TestLoadImageJoinsChunks(t *testing.T) {
	f := &fakeImages{}
	c, ctx := imageClient(t, f)
	stream, err := c.LoadImage(ctx)
	if err != nil {
		t.Fatal(err)
	}

	for _, piece := range []string{"he", "", "l", "lo"} {
		if err := stream.Send(&containerv1.LoadImageRequest{Data: []byte(piece)}); err != nil {
			t.Fatal(err)
		}
	}

	_ = stream.CloseSend()
	reported, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "progress", &containerv1.LoadImageResponse{Progress: &containerv1.Progress{Step: "unpacking",
		Subject: "abc", Done: 1, Total: 2}}, reported)
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}

	mustEqual(t, "answer", &containerv1.LoadImageResponse{Images: []*containerv1.Image{wanted()}}, got)
	if string(f.read) != "hello" {
		t.Errorf("got %q, want hello", f.read)
	}
}

func TestImportImageRequiresOptionsFirst(t *testing.T) {
	options := func() *containerv1.ImportImageRequest {
		return &containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Options{
			Options: &containerv1.ImportOptions{Reference: "mine", Changes: []string{"CMD x"},
				Platform: "linux/amd64"}}}
	}

	data := func(s string) *containerv1.ImportImageRequest {
		return &containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Data{Data: []byte(s)}}
	}

	for what, tc := range map[string]struct {
		send []*containerv1.ImportImageRequest
		good bool
	}{
		"as it should be": {[]*containerv1.ImportImageRequest{options(), data("ro"), data("ot")}, true},
		"no message":      {nil, false},
		"data first":      {[]*containerv1.ImportImageRequest{data("root")}, false},
		"options again":   {[]*containerv1.ImportImageRequest{options(), data("ro"), options()}, false},
	} {
		f := &fakeImages{}
		c, ctx := imageClient(t, f)
		stream, err := c.ImportImage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tc.send {
			if err := stream.Send(m); err != nil {
				break // the server has rejected the call; CloseAndRecv returns the error
			}
		}
		got, err := stream.CloseAndRecv()
		if !tc.good {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: got %v, want Invalid", what, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "answer", &containerv1.ImportImageResponse{Image: wanted()}, got)
		mustEqual(t, "request",
			image.ImportRequest{Reference: "mine", Changes: []string{"CMD x"}, Platform: "linux/amd64"}, f.asked)
		if !bytes.Equal(f.read, []byte("root")) {
			t.Errorf("got %q, want root", f.read)
		}
	}
}

func TestImageCallsForwardRequests(t *testing.T) {
	f := &fakeImages{}
	c, ctx := imageClient(t, f)
	list, err := c.ListImages(ctx, &containerv1.ListImagesRequest{})
	mustEqual(t, "list", &containerv1.ListImagesResponse{Images: []*containerv1.Image{wanted()}}, list)
	got, err2 := c.GetImage(ctx, &containerv1.GetImageRequest{Reference: "nginx"})
	mustEqual(t, "get", &containerv1.GetImageResponse{Image: wanted()}, got)
	mustEqual(t, "get", "nginx", f.asked)
	_, err3 := c.TagImage(ctx, &containerv1.TagImageRequest{Reference: "nginx", Tag: "mine"})
	mustEqual(t, "tag", []string{"nginx", "mine"}, f.asked)
	gone, err4 := c.RemoveImage(ctx, &containerv1.RemoveImageRequest{Reference: "nginx", Force: true})
	mustEqual(t, "remove", []any{"nginx", true}, f.asked)
	mustEqual(t, "remove", &containerv1.RemoveImageResponse{Untagged: []string{"nginx:latest"},
		Deleted: []string{"sha256:aa"}}, gone)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		t.Error(err)
	}
}

func TestImageFaultsReachClient(t *testing.T) {
	f := &fakeImages{err: fault.New(fault.NotFound, `image "x"`, "No such image",
		fault.WithReason(fault.ReasonNoSuchImage))}
	c, ctx := imageClient(t, f)
	var errs []error
	_, err := c.GetImage(ctx, &containerv1.GetImageRequest{Reference: "x"})
	errs = append(errs, err)
	_, err = c.TagImage(ctx, &containerv1.TagImageRequest{Reference: "x", Tag: "y"})
	errs = append(errs, err)
	_, err = c.RemoveImage(ctx, &containerv1.RemoveImageRequest{Reference: "x"})
	errs = append(errs, err)
	stream, err := c.PullImage(ctx, &containerv1.PullImageRequest{Reference: "x"})
	if err == nil {
		_, err = stream.Recv()
	}

	errs = append(errs, err)
	if i := slices.IndexFunc(errs,
		func(err error) bool { return fault.ReasonOf(err) != fault.ReasonNoSuchImage }); i >= 0 {
		t.Errorf("call %d: got %v, want reason NO_SUCH_IMAGE", i, errs[i])
	}
}
