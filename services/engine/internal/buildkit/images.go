package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// images is the image store for BuildKit, during one session.
type images struct {
	client containerv1.ImageServiceClient
	ctx    context.Context // of the session: its client is the one that calls the store

	mu     sync.Mutex
	blobs  map[digest.Digest][]byte // manifests and configurations that were found
	layers map[digest.Digest]*layer // layers of these images
}

func newImages(ctx context.Context, client containerv1.ImageServiceClient) *images {
	return &images{client: client, ctx: ctx, blobs: map[digest.Digest][]byte{}, layers: map[digest.Digest]*layer{}}
}

// close ends all reads.
func (i *images) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, l := range i.layers {
		l.close()
	}
}

// find returns the name and digest under which an image of the store can be read. It is empty if the
// store does not have the image.
func (i *images) find(identifier, platform string) (string, error) {
	named, ok := parseSource(identifier)
	if !ok {
		return "", nil
	}
	name := reference.FamiliarString(reference.TagNameOnly(named))
	if pinned, ok := named.(reference.Digested); ok {
		if i.has(pinned.Digest()) { // it was found by its tag before
			return named.String(), nil
		}
		name = reference.FamiliarName(named) + "@" + pinned.Digest().String()
	}

	got, err := i.client.GetImageLayout(i.ctx, &containerv1.GetImageLayoutRequest{Reference: name, Platform: platform})
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Busy) || fault.Is(err, fault.Invalid) {
		return "", nil // a registry can have it
	}
	if err != nil {
		return "", err
	}
	d, err := i.add(got)
	if err != nil {
		return "", err
	}
	canonical, err := reference.WithDigest(reference.TrimNamed(named), d)
	if err != nil {
		return "", err
	}
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		return reference.TrimNamed(named).String() + ":" + tagged.Tag() + "@" + d.String(), nil
	}
	return canonical.String(), nil
}

func (i *images) has(d digest.Digest) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.blobs[d] != nil
}

// add makes an image readable and returns the digest of its manifest.
func (i *images) add(got *containerv1.GetImageLayoutResponse) (digest.Digest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(got.GetManifest(), &m); err != nil {
		return "", fault.Wrap(err, fault.Internal, "manifest", "cannot be read")
	}
	d := digest.FromBytes(got.GetManifest())
	i.mu.Lock()
	defer i.mu.Unlock()
	i.blobs[d], i.blobs[m.Config.Digest] = got.GetManifest(), got.GetConfig()
	for _, l := range m.Layers {
		if i.layers[l.Digest] == nil {
			i.layers[l.Digest] = &layer{images: i, id: l.Digest, size: l.Size}
		}
	}
	return d, nil
}

// Fields of the messages of the content store.
const (
	contentDigest wire.Number = 1
	contentOffset wire.Number = 2
	contentSize   wire.Number = 3

	infoInfo   wire.Number = 1
	infoDigest wire.Number = 1
	infoSize   wire.Number = 2

	readOffset wire.Number = 1
	readData   wire.Number = 2
)

// blob returns a document, or else a layer.
func (i *images) blob(d digest.Digest) ([]byte, *layer, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.blobs[d]; b != nil {
		return b, nil, nil
	}
	if l := i.layers[d]; l != nil {
		return nil, l, nil
	}
	return nil, nil, status.Errorf(codes.NotFound, "content %s: not found", d)
}

// info serves Info.
func (i *images) info(_ context.Context, data []byte) ([]byte, error) {
	req, err := wire.Parse(data)
	if err != nil {
		return nil, err
	}
	d := digest.Digest(req.Text(contentDigest))
	b, l, err := i.blob(d)
	if err != nil {
		return nil, err
	}
	size := int64(len(b))
	if l != nil {
		size = l.size
	}
	return wire.Message{}.WithData(infoInfo, wire.Message{}.WithText(infoDigest, d.String()).
		WithInt(infoSize, size).Bytes()).Bytes(), nil
}

// read serves Read.
func (i *images) read(in grpc.ServerStream) error {
	f := &frame{}
	if err := in.RecvMsg(f); err != nil {
		return err
	}
	req, err := wire.Parse(f.data)
	if err != nil {
		return err
	}
	b, l, err := i.blob(digest.Digest(req.Text(contentDigest)))
	if err != nil {
		return err
	}

	offset, size, total := req.Int(contentOffset), req.Int(contentSize), int64(len(b))
	if l != nil {
		total = l.size
	}
	if offset < 0 || offset > total {
		return status.Errorf(codes.OutOfRange, "read at %d of %d bytes", offset, total)
	}
	if size <= 0 || size > total-offset {
		size = total - offset
	}
	send := func(at int64, data []byte) error {
		return in.SendMsg(&frame{wire.Message{}.WithInt(readOffset, at).WithData(readData, data).Bytes()})
	}
	if l == nil {
		return send(offset, b[offset:offset+size])
	}
	return l.read(offset, size, send)
}

// layer reads a layer. BuildKit reads a layer in small pieces from its begin to its end, so the stream
// stays open between them.
type layer struct {
	images *images
	id     digest.Digest
	size   int64

	mu     sync.Mutex
	stream grpc.ServerStreamingClient[containerv1.ReadImageLayerResponse]
	cancel context.CancelFunc
	at     int64  // the offset of rest
	rest   []byte // received, not read yet
}

// read reads a piece.
func (l *layer) read(offset, size int64, send func(at int64, data []byte) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream == nil || l.at != offset {
		if err := l.open(offset); err != nil {
			return err
		}
	}
	for size > 0 {
		if len(l.rest) == 0 {
			m, err := l.stream.Recv()
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				l.end()
				return err
			}
			l.rest = m.GetData()
		}
		piece := l.rest[:min(int64(len(l.rest)), size)]
		if err := send(l.at, piece); err != nil {
			return err
		}
		n := int64(len(piece))
		l.rest, l.at, size = l.rest[n:], l.at+n, size-n
	}
	if l.at == l.size {
		l.end()
	}
	return nil
}

func (l *layer) open(offset int64) error {
	l.end()
	ctx, cancel := context.WithCancel(l.images.ctx)
	stream, err := l.images.client.ReadImageLayer(ctx,
		&containerv1.ReadImageLayerRequest{DiffId: l.id.String(), Offset: offset})
	if err != nil {
		cancel()
		return err
	}
	l.stream, l.cancel, l.at, l.rest = stream, cancel, offset, nil
	return nil
}

// end closes the stream. mu must be held.
func (l *layer) end() {
	if l.cancel != nil {
		l.cancel()
	}
	l.stream, l.cancel, l.rest = nil, nil, nil
}

func (l *layer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}
