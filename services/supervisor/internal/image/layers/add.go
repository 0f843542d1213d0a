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

// Phase is the state of a layer during Add.
type Phase string

// The phases, in order.
const (
	Waiting     Phase = "waiting"
	Downloading Phase = "downloading"
	Unpacking   Phase = "unpacking"
	Done        Phase = "done"
	Exists      Phase = "exists"
)

// Progress reports the progress of a layer. Done and Total are bytes of the blob.
type Progress struct {
	Phase       Phase
	Done, Total int64
}

// Blob is a layer to unpack: a tar archive, compressed or not.
type Blob struct {
	DiffID   string // digest of the uncompressed archive
	Digest   string // digest of the blob; empty if it is not verified
	Size     int64  // bytes of the blob; 0 if unknown
	Attempts int    // download attempts; 0 means one
	Open     func(context.Context) (io.ReadCloser, error)
}

// retryAfter is the first delay between two attempts; it grows with each attempt.
const retryAfter = 100 * time.Millisecond

var sha256ID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ValidDiffID reports whether s is a sha256 digest that can name a layer.
func ValidDiffID(s string) bool { return sha256ID.MatchString(s) }

// Add ensures that a layer exists. The caller must hold it (see Hold). Concurrent calls for the
// same layer share the work. If the shared work fails, which can be due to the other caller's
// credentials, Add tries again with this caller's blob.
func (s *Store) Add(ctx context.Context, b Blob, report func(Progress)) error {
	if !ValidDiffID(b.DiffID) {
		return fault.New(fault.Invalid, "layer "+b.DiffID, "does not have a sha256 digest as its name")
	}

	for {
		if s.Has(b.DiffID) {
			report(Progress{Phase: Exists, Done: b.Size, Total: b.Size})
			return nil
		}
		own, err := s.flights.do(ctx, b.DiffID, report, func(ctx context.Context, report func(Progress)) error {
			return s.fetch(ctx, b, report)
		})
		if err == nil || own || ctx.Err() != nil {
			return err
		}
	}
}

// fetch unpacks a blob, and starts over if its download is truncated.
func (s *Store) fetch(ctx context.Context, b Blob, report func(Progress)) error {
	if s.Has(b.DiffID) { // it was added after the caller's check
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
		return fault.New(fault.Invalid, subject(b),
			"archive has the digest "+layer.DiffID+", but the image requires "+b.DiffID)
	}

	report(Progress{Phase: Unpacking, Done: blob.n, Total: blob.total()})
	if err := s.publish(tmp, b.DiffID, metaOf(layer)); err != nil {
		return DiskFault(subject(b), err)
	}

	report(Progress{Phase: Done, Done: blob.n, Total: blob.total()})
	return nil
}

// AddArchive unpacks an archive with an unknown digest and returns the diff ID. The layer is held:
// the caller must release it.
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
	if err := os.Chmod(dir, 0o755); err != nil { // independent of the umask
		return nil, err
	}
	return unpack.Into(ctx, in, dir)
}

func metaOf(l *unpack.Layer) meta { return meta{Size: l.Size, Implied: l.Implied} }
