package layers

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/tarsplit"
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
		if s.Has(b.DiffID) && s.isRecorded(b.DiffID) {
			report(Progress{Phase: Exists, Done: b.Size, Total: b.Size})
			return nil
		}
		own, err := s.inFlight.do(ctx, b.DiffID, report, func(ctx context.Context, report func(Progress)) error {
			return s.fetch(ctx, b, report)
		})
		if err == nil || own || ctx.Err() != nil {
			return err
		}
	}
}

// fetch unpacks a blob, and starts over if its download is truncated. Of a layer from an earlier
// version it only records the archive.
func (s *Store) fetch(ctx context.Context, b Blob, report func(Progress)) error {
	get := s.unpackBlob
	switch {
	case !s.Has(b.DiffID):
	case s.isRecorded(b.DiffID): // it was added after the caller's check
		return nil
	default:
		get = s.recordBlob
	}

	pause := retryAfter
	for attempt := 1; ; attempt++ {
		err := get(ctx, b, report)
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
	layer, split, err := fill(ctx, blob, tmp)
	if err != nil {
		return unpackFault(ctx, b, blob, err)
	}

	if err := blob.verifyAs(b.DiffID, layer.DiffID); err != nil {
		return err
	}

	report(Progress{Phase: Unpacking, Done: blob.n, Total: blob.total()})
	if split.Inexact != "" {
		if split, err = recordRaw(ctx, b, tmp); err != nil {
			return err
		}
	}
	if err := s.publish(tmp, b.DiffID, metaOf(layer, split)); err != nil {
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
	layer, split, err := fill(ctx, blob, tmp)
	if err != nil {
		return "", unpackFault(ctx, Blob{}, blob, err)
	}

	diffID = layer.DiffID
	s.Hold(diffID)
	if err := s.publish(tmp, diffID, metaOf(layer, split)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held[diffID]--; s.held[diffID] == 0 {
			delete(s.held, diffID)
		}
		return "", DiskFault("archive", err)
	}

	return diffID, nil
}

// fill unpacks an archive into a new layer directory and records its structure.
func fill(ctx context.Context, in io.Reader, tmp string) (*unpack.Layer, tarsplit.Summary, error) {
	dir := filepath.Join(tmp, fsName)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, tarsplit.Summary{}, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // independent of the umask
		return nil, tarsplit.Summary{}, err
	}

	record, err := os.OpenFile(filepath.Join(tmp, recordName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, tarsplit.Summary{}, err
	}

	recorder := tarsplit.NewRecorder(record)
	layer, err := unpack.Into(ctx, in, dir, recorder)
	split, rerr := recorder.Close()

	return layer, split, cmp.Or(err, errors.Join(rerr, record.Close()))
}

func metaOf(l *unpack.Layer, split tarsplit.Summary) meta {
	return meta{Size: l.Size, Implied: l.Implied, TarSize: split.Size, Inexact: split.Inexact}
}
