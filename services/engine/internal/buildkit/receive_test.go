package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// layeredStore is an image store that has one layer, and receives archives.
type layeredStore struct {
	containerv1.ImageServiceClient
	layer []byte

	mu     sync.Mutex
	loaded bytes.Buffer
	closed bool // the archive is complete
	err    error
}

func (s *layeredStore) ReadImageLayer(_ context.Context, req *containerv1.ReadImageLayerRequest,
	_ ...grpc.CallOption) (grpc.ServerStreamingClient[containerv1.ReadImageLayerResponse], error) {
	if req.GetDiffId() != digest.FromBytes(s.layer).String() {
		return nil, fault.New(fault.NotFound, "layer", "is not stored")
	}
	return &layerPieces{pieces{rest: s.layer}}, nil
}

func (s *layeredStore) LoadImage(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[
	containerv1.LoadImageRequest, containerv1.LoadImageResponse], error) {
	return &layeredLoad{store: s}, nil
}

type layeredLoad struct {
	grpc.ClientStream
	store *layeredStore
}

func (l *layeredLoad) Send(m *containerv1.LoadImageRequest) error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	_, err := l.store.loaded.Write(m.GetData())
	return err
}

func (l *layeredLoad) CloseSend() error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.store.closed = true
	return nil
}

func (l *layeredLoad) Recv() (*containerv1.LoadImageResponse, error) {
	return &containerv1.LoadImageResponse{}, l.store.err
}

// files returns the names of the files in the archive, in its order.
func (s *layeredStore) files(t *testing.T) (names []string) {
	t.Helper()
	for r := tar.NewReader(&s.loaded); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "manifest.json" && !bytes.Contains(body, []byte(`"RepoTags":["app:1","app:2"]`)) {
			t.Errorf("got manifest %s", body)
		}
		names = append(names, h.Name)
	}
}

// sendBlob does what BuildKit does with a blob of a result.
func sendBlob(t *testing.T, conn *grpc.ClientConn, kind string, data []byte) error {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), headerStore, exportStore))
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodWrite)
	if err != nil {
		t.Fatal(err)
	}
	id, half := digest.FromBytes(data).String(), len(data)/2
	for _, m := range []wire.Message{
		wire.Message{}.WithText(writeRef, kind+"-"+id).WithInt(writeTotal, int64(len(data))).WithText(writeExpected,
			id),
		{},
		wire.Message{}.WithInt(writeAction, 1).WithData(writeData, data[:half]),
		wire.Message{}.WithInt(writeAction, 1).WithInt(writeOffset, int64(half)).WithData(writeData, data[half:]),
		wire.Message{}.WithInt(writeAction, actionCommit).WithInt(writeOffset, int64(len(data))),
	} {
		_ = stream.SendMsg(&frame{m.Bytes()}) // the response has the error
		if _, err := receive(clientMessages{stream}); err != nil {
			return err
		}
	}
	return nil
}

// clientMessages makes receive usable for the stream of a client.
type clientMessages struct{ grpc.ClientStream }

func (clientMessages) SetHeader(metadata.MD) error  { return nil }
func (clientMessages) SendHeader(metadata.MD) error { return nil }
func (clientMessages) SetTrailer(metadata.MD)       {}

// TestResultIsReceivedInBlobs sends the blobs of an image concurrently. The layer that the store has is
// not sent.
func TestResultIsReceivedInBlobs(t *testing.T) {
	store := &layeredStore{layer: bytes.Repeat([]byte("old"), 5000)}
	added, config := bytes.Repeat([]byte("new"), 500_000), []byte(`{"os":"linux"}`)
	manifest := fmt.Appendf(nil, `{"mediaType":"m","config":{"digest":%q},"layers":[{"digest":%q},{"digest":%q}]}`,
		digest.FromBytes(config), digest.FromBytes(store.layer), digest.FromBytes(added))
	bk := fakeBuildKit(t, func(conn *grpc.ClientConn, _ metadata.MD, req wire.Message) error {
		if got := req.Message(solveExporters).Map(exporterAttrs); got["tar"] != "false" || got["compression"] !=
			"uncompressed" || got["force-compression"] != "true" {
			t.Errorf("got attributes %v", got)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := sendBlob(t, conn, "layer", store.layer); status.Code(err) != codes.AlreadyExists {
				t.Errorf("got %v of a layer that is stored", err)
			}
		})
		for kind, data := range map[string][]byte{"layer": added, "config": config} {
			all.Go(func() {
				if err := sendBlob(t, conn, kind, data); err != nil {
					t.Error(kind, err)
				}
			})
		}
		all.Wait()
		return sendBlob(t, conn, "manifest", manifest)
	})
	if _, err := New(Config{Images: store}).Build(t.Context(), bk, Build{Tags: []string{"app:1", "app:2"}},
		func(Status) {}); err != nil {
		t.Fatal(err)
	}

	got := store.files(t)
	var want []string
	for _, data := range [][]byte{added, config, manifest} {
		want = append(want, "blobs/sha256/"+digest.FromBytes(data).Encoded())
	}
	want = append(want, "index.json", "manifest.json")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || !store.closed {
		t.Errorf("got files %v, complete %t; want %v", got, store.closed, want)
	}
}

// TestBrokenResult checks that a blob that ends early, and an image that the store refuses, fail the build.
func TestBrokenResult(t *testing.T) {
	store := &layeredStore{err: fault.New(fault.Invalid, "archive", "is refused")}
	build := func(send func(conn *grpc.ClientConn) error) error {
		bk := fakeBuildKit(t, func(conn *grpc.ClientConn, _ metadata.MD, _ wire.Message) error { return send(conn) })
		_, err := New(Config{Images: store}).Build(t.Context(), bk, Build{}, func(Status) {})
		return err
	}

	refused := build(func(conn *grpc.ClientConn) error { return sendBlob(t, conn, "manifest", []byte(`{}`)) })
	if refused == nil || !strings.Contains(refused.Error(), "is refused") {
		t.Errorf("got %v of a refused image", refused)
	}
	cut := build(func(conn *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), headerStore, exportStore))
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodWrite)
		if err != nil {
			return err
		}
		first := wire.Message{}.WithText(writeRef, "layer-x").WithInt(writeTotal, 9).
			WithText(writeExpected, digest.FromString("x").String())
		if err := stream.SendMsg(&frame{first.Bytes()}); err != nil {
			return err
		}
		if _, err := receive(clientMessages{stream}); err != nil {
			return err
		}
		_ = stream.CloseSend()
		_, err = receive(clientMessages{stream})
		if status.Code(err) != codes.Aborted {
			t.Errorf("got %v of a blob that ends early", err)
		}
		return sendBlob(t, conn, "manifest", []byte(`{}`))
	})
	if cut == nil || store.closed && !strings.Contains(cut.Error(), "incomplete") {
		t.Errorf("got %v after a blob that ends early", cut)
	}
}

// TestSecondBuildOfASession checks that only one of several builds of a session is received in blobs.
func TestSecondBuildOfASession(t *testing.T) {
	s := &session{images: newImages(t.Context(), &layeredStore{})}
	if s.startResult("app") == nil || s.startResult("other") != nil || s.receives() == nil {
		t.Error("got a second result")
	}
	s.closeResult()
	if s.receives() != nil || s.startResult("other") == nil {
		t.Error("got no result after the first is closed")
	}
	s.closeResult()
}

func TestResultsThatAreNotReceivedInBlobs(t *testing.T) {
	moby := exporter(dockerExporter)
	any := wire.Message{}.WithText(exporterType, dockerExporter).WithEntry(exporterAttrs, "name", anyName).Bytes()
	for what, exporters := range map[string][][]byte{"two": {moby, moby}, "none": nil, "another": {exporter("local")},
		"any name": {any}} {
		req := wire.Message{}
		for _, e := range exporters {
			req = req.WithData(solveExporters, e)
		}
		if names, ok := planOf(req).only(); ok {
			t.Errorf("%s: got %q", what, names)
		}
	}
	if names, ok := planOf(wire.Message{}.WithData(solveExporters, moby)).only(); !ok || names != "app" {
		t.Errorf("got %q, %t", names, ok)
	}
}
