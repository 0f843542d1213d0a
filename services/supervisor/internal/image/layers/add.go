package layers

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/unpack"
)

// Phase is how far a layer is.
type Phase string

// The phases, in their order.
const (
	Waiting     Phase = "waiting"
	Downloading Phase = "downloading"
	Unpacking   Phase = "unpacking"
	Done        Phase = "done"
	Exists      Phase = "exists"
)

// Progress tells that a layer moved on. Done and Total are bytes of the blob.
type Progress struct {
	Phase       Phase
	Done, Total int64
}

// Blob is a layer as it is kept elsewhere: a tar archive, compressed or not.
type Blob struct {
	DiffID   string // the digest of the archive
	Digest   string // the digest of the blob; empty if there is none to hold it to
	Size     int64  // the blob's bytes; 0 if not known
	Attempts int    // how often to try when a download breaks off; 0 means once
	Open     func(context.Context) (io.ReadCloser, error)
}

// retryAfter is the first pause between two attempts; each one after it is longer.
const retryAfter = 100 * time.Millisecond

var sha256ID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ValidDiffID tells whether the store can keep a layer of this name.
func ValidDiffID(s string) bool { return sha256ID.MatchString(s) }

// Add makes sure that the layer is there. The caller holds it (see Hold). Others who want it meanwhile share the work; if
// theirs fails, which may be for want of their credentials, it is tried again from this caller's blob.
func (s *Store) Add(ctx context.Context, b Blob, report func(Progress)) error {
	if !ValidDiffID(b.DiffID) {
		return fault.New(fault.Invalid, "layer "+b.DiffID, "is not named by a sha256 digest")
	}
	for {
		if s.Has(b.DiffID) {
			report(Progress{Phase: Exists, Done: b.Size, Total: b.Size})
			return nil
		}
		led, err := s.flights.do(ctx, b.DiffID, report, func(ctx context.Context, report func(Progress)) error {
			return s.fetch(ctx, b, report)
		})
		if err == nil || led || ctx.Err() != nil {
			return err
		}
	}
}

// fetch unpacks a blob, and starts over when its download breaks off.
func (s *Store) fetch(ctx context.Context, b Blob, report func(Progress)) error {
	if s.Has(b.DiffID) { // it came between the caller's look and this flight's start
		return nil
	}
	pause := retryAfter
	for attempt := 1; ; attempt++ {
		err := s.unpackBlob(ctx, b, report)
		var broken *truncatedError
		if err == nil || ctx.Err() != nil || attempt >= b.Attempts || !errors.As(err, &broken) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause *= 4
		}
	}
}

func (s *Store) unpackBlob(ctx context.Context, b Blob, report func(Progress)) (err error) {
	tmp, err := os.MkdirTemp(s.dir, filepath.Base(s.layerDir(b.DiffID))+tmpMark)
	if err != nil {
		return DiskFault(subject(b), err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	blob := newBlobReader(rc, b, report)
	layer, err := fill(ctx, blob, filepath.Join(tmp, fsName))
	if err != nil {
		return unpackFault(ctx, b, blob, err)
	}
	if err := blob.verify(); err != nil {
		return err
	}
	if layer.DiffID != b.DiffID {
		return fault.New(fault.Invalid, subject(b), "its archive has the digest "+layer.DiffID+", and the image says "+b.DiffID)
	}
	report(Progress{Phase: Unpacking, Done: blob.n, Total: blob.total()})
	if err := s.publish(tmp, b.DiffID, metaOf(layer)); err != nil {
		return DiskFault(subject(b), err)
	}
	report(Progress{Phase: Done, Done: blob.n, Total: blob.total()})
	return nil
}

// AddArchive unpacks an archive whose digest is not known yet, and answers it. The layer is held: the caller releases it.
func (s *Store) AddArchive(ctx context.Context, r io.Reader) (diffID string, err error) {
	tmp, err := os.MkdirTemp(s.dir, "archive"+tmpMark)
	if err != nil {
		return "", DiskFault("archive", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	blob := newBlobReader(r, Blob{}, func(Progress) {})
	layer, err := fill(ctx, blob, filepath.Join(tmp, fsName))
	if err != nil {
		return "", unpackFault(ctx, Blob{}, blob, err)
	}
	diffID = layer.DiffID
	s.Hold(diffID)
	if err := s.publish(tmp, diffID, metaOf(layer)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held[diffID]--; s.held[diffID] == 0 {
			delete(s.held, diffID)
		}
		return "", DiskFault("archive", err)
	}
	return diffID, nil
}

// fill creates a directory and unpacks an archive into it.
func fill(ctx context.Context, in io.Reader, dir string) (*unpack.Layer, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
		return nil, err
	}
	return unpack.Into(ctx, in, dir)
}

func metaOf(l *unpack.Layer) meta { return meta{Size: l.Size, Implied: l.Implied} }
