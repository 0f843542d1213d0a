package buildkit

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// exportStore is the store of a session to which BuildKit copies the blobs of a result.
const exportStore = "export"

// isExport reports whether a call is for the store of results.
func isExport(md metadata.MD) bool {
	values := md.Get(headerStore)
	return len(values) > 0 && values[0] == exportStore
}

// result receives one image from BuildKit, blob by blob, and loads it when its manifest has arrived.
// Layers that the store has are not sent. BuildKit sends several blobs concurrently; an archive has them
// sequentially.
type result struct {
	images *images
	names  []string

	turn chan struct{} // has an element while a blob is received

	mu     sync.Mutex
	stream containerv1.ImageService_LoadImageClient // nil before the first blob
	cancel context.CancelFunc
	out    *tar.Writer
	held   []context.CancelFunc // reads of layers that the store has, which keep them
	failed error
}

func newResult(images *images, names string) *result {
	r := &result{images: images, turn: make(chan struct{}, 1)}
	if names != "" {
		r.names = strings.Split(names, ",")
	}
	return r
}

// close releases everything. An image that is not loaded yet is forgotten.
func (r *result) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = status.Error(codes.Canceled, "the build has ended")
	}
	if r.cancel != nil {
		r.cancel()
	}
	for _, release := range r.held {
		release()
	}
	r.cancel, r.held = nil, nil
}

// Fields of the messages of Write, and its actions.
const (
	writeAction   wire.Number = 1
	writeRef      wire.Number = 2
	writeTotal    wire.Number = 3
	writeExpected wire.Number = 4
	writeOffset   wire.Number = 5
	writeData     wire.Number = 6

	writtenAction wire.Number = 1
	writtenOffset wire.Number = 4
	writtenTotal  wire.Number = 5
	writtenDigest wire.Number = 6

	actionStat   = 0
	actionCommit = 2
)

// write serves Write: one blob.
func (r *result) write(in grpc.ServerStream) error {
	first, err := receive(in)
	if err != nil {
		return err
	}
	b := &blob{digest: first.Text(writeExpected), total: first.Int(writeTotal)}
	kind, _, _ := strings.Cut(first.Text(writeRef), "-")
	b.isManifest = kind == "manifest"
	hex, ok := strings.CutPrefix(b.digest, "sha256:")
	if !ok || b.total <= 0 || b.isManifest && b.total > maxMessage {
		return status.Errorf(codes.InvalidArgument, "blob %.100q of %d bytes cannot be received", b.digest, b.total)
	}
	if kind == "layer" && r.has(b.digest) {
		return status.Errorf(codes.AlreadyExists, "layer %s exists", b.digest)
	}

	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-in.Context().Done():
		return status.FromContextError(in.Context().Err()).Err()
	}
	err = r.startFile("blobs/sha256/"+hex, b.total)
	if err == nil {
		err = r.receive(in, b)
	}
	return r.fail(err)
}

// fail records the first error: an archive with a part of a blob cannot be used.
func (r *result) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	return err
}

// blob is a blob that is received.
type blob struct {
	digest     string
	total, at  int64
	isManifest bool
	manifest   []byte
}

// written returns the response to an action.
func (b *blob) written(action int64) *frame {
	return &frame{wire.Message{}.WithInt(writtenAction, action).WithInt(writtenOffset, b.at).
		WithInt(writtenTotal, b.total).WithText(writtenDigest, b.digest).Bytes()}
}

// receive writes a blob to the archive.
func (r *result) receive(in grpc.ServerStream, b *blob) error {
	if err := in.SendMsg(b.written(actionStat)); err != nil {
		return err
	}
	for {
		m, err := receive(in)
		if err != nil {
			return err
		}
		action, data := m.Int(writeAction), m.Data(writeData)
		if len(data) > 0 {
			if m.Int(writeOffset) != b.at {
				return status.Errorf(codes.OutOfRange, "blob %s: offset %d, want %d", b.digest, m.Int(writeOffset),
					b.at)
			}
			if _, err := r.out.Write(data); err != nil {
				return r.sendError(err)
			}
			b.at += int64(len(data))
			if b.isManifest {
				b.manifest = append(b.manifest, data...)
			}
		}
		if action != actionCommit {
			if err := in.SendMsg(b.written(action)); err != nil {
				return err
			}
			continue
		}

		if b.isManifest {
			if err := r.load(b); err != nil {
				return err
			}
		}
		return in.SendMsg(b.written(action))
	}
}

// receive returns the next message of a stream.
func receive(in grpc.ServerStream) (wire.Message, error) {
	f := &frame{}
	if err := in.RecvMsg(f); err != nil {
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Aborted, "the blob is incomplete")
		}
		return nil, err
	}
	return wire.Parse(f.data)
}

// has reports whether the store has a layer, and keeps it until close.
func (r *result) has(layer string) bool {
	ctx, cancel := context.WithCancel(r.images.ctx)
	stream, err := r.images.client.ReadImageLayer(ctx, &containerv1.ReadImageLayerRequest{DiffId: layer})
	if err == nil {
		_, err = stream.Recv()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.failed != nil {
		cancel()
		return false
	}
	r.held = append(r.held, cancel)
	return true
}

// startFile starts a file of the archive.
func (r *result) startFile(name string, size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	if r.stream == nil {
		ctx, cancel := context.WithCancel(r.images.ctx)
		stream, err := r.images.client.LoadImage(ctx)
		if err != nil {
			cancel()
			return err
		}
		r.stream, r.cancel, r.out = stream, cancel, tar.NewWriter(&pieceWriter{to: stream})
	}
	if err := r.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}); err != nil {
		return r.sendError(err)
	}
	return nil
}

// sendError returns the error of the store if that has ended the stream.
func (r *result) sendError(err error) error {
	if errors.Is(err, io.EOF) {
		return r.await()
	}
	return err
}

// await waits for the response of the store.
func (r *result) await() error {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if m.GetProgress() == nil {
			return nil
		}
	}
}

// load loads the image of a manifest, whose other blobs are in the archive or in the store.
func (r *result) load(b *blob) error {
	var m ocispec.Manifest
	if err := json.Unmarshal(b.manifest, &m); err != nil {
		return fault.Wrap(err, fault.Internal, "manifest", "cannot be read")
	}
	type saved struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	file := func(id string) string { return "blobs/" + strings.Replace(id, ":", "/", 1) }
	image := saved{Config: file(m.Config.Digest.String()), RepoTags: r.names, Layers: []string{}}
	for _, l := range m.Layers {
		image.Layers = append(image.Layers, file(l.Digest.String()))
	}
	descriptor := ocispec.Descriptor{MediaType: m.MediaType, Size: b.total, Digest: digest.Digest(b.digest)}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{descriptor}}
	index.SchemaVersion = 2

	for name, document := range map[string]any{"manifest.json": []saved{image}, "index.json": index} {
		data, err := json.Marshal(document)
		if err != nil {
			return err
		}
		if err := r.startFile(name, int64(len(data))); err != nil {
			return err
		}
		if _, err := r.out.Write(data); err != nil {
			return r.sendError(err)
		}
	}
	err := r.out.Close()
	if err == nil {
		err = r.stream.CloseSend()
	}
	if err != nil {
		return r.sendError(err)
	}
	return r.await()
}

// pieceWriter sends an archive to the store.
type pieceWriter struct {
	to containerv1.ImageService_LoadImageClient
}

// Write sends data in pieces.
func (w *pieceWriter) Write(data []byte) (int, error) {
	for at := 0; at < len(data); at += loadChunk {
		piece := data[at:min(at+loadChunk, len(data))]
		if err := w.to.Send(&containerv1.LoadImageRequest{Data: piece}); err != nil {
			return at, err
		}
	}
	return len(data), nil
}
