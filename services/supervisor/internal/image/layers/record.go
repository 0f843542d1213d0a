package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/tarsplit"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/unpack"
)

// TarSize returns the size of the layer's uncompressed archive. Errors: fault.Busy if the archive
// cannot be written again.
func (s *Store) TarSize(diffID string) (int64, error) {
	m, err := readMeta(s.layerDir(diffID))
	if err != nil {
		return 0, err
	}
	if m.Inexact != "" {
		return 0, fault.New(fault.Busy, "layer "+Short(diffID), "its archive cannot be reproduced: "+m.Inexact)
	}
	if !s.isRecorded(diffID) {
		return 0, fault.New(fault.Busy, "layer "+Short(diffID),
			"was stored by an earlier version, which did not record its archive",
			fault.WithHint("pull or load the image again"))
	}
	return m.TarSize, nil
}

// Tar writes the layer's uncompressed archive, byte for byte. It fails at the end if the digest is
// not the diff ID. The caller must hold the layer, or an image must use it.
func (s *Store) Tar(ctx context.Context, diffID string, w io.Writer) error {
	if _, err := s.TarSize(diffID); err != nil {
		return err
	}

	record, err := os.Open(filepath.Join(s.layerDir(diffID), recordName))
	if err != nil {
		return DiskFault("layer "+Short(diffID), err)
	}
	defer func() { _ = record.Close() }()

	root, err := beneath.Open(s.Path(diffID))
	if err != nil {
		return DiskFault("layer "+Short(diffID), err)
	}
	defer func() { _ = root.Close() }()

	sum := sha256.New()
	out := &output{ctx: ctx, w: io.MultiWriter(w, sum)}
	err = tarsplit.Write(out, record, func(name string) (io.ReadCloser, error) {
		return root.OpenFile(name, math.MaxInt64)
	})
	switch {
	case out.err != nil:
		return out.err
	case err != nil:
		return damaged(diffID, err)
	case "sha256:"+hex.EncodeToString(sum.Sum(nil)) != diffID:
		return damaged(diffID, errors.New("its files were changed"))
	}

	return nil
}

func damaged(diffID string, err error) error {
	return fault.New(fault.Internal, "layer "+Short(diffID), "its archive cannot be reproduced", fault.WithCause(err),
		fault.WithHint("remove the images that use it and pull them again"))
}

// output fails when its context is done, and records failures of the writer.
type output struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err = o.ctx.Err(); o.err != nil {
		return 0, o.err
	}
	var n int
	n, o.err = o.w.Write(p)
	return n, o.err
}

// isRecorded reports whether the layer's archive can be written again.
func (s *Store) isRecorded(diffID string) bool {
	if _, err := os.Lstat(filepath.Join(s.layerDir(diffID), recordName)); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	m, err := readMeta(s.layerDir(diffID))
	return err != nil || m.Inexact == ""
}

// recordBlob records the archive of a layer that an earlier version has unpacked, or that was
// imported and could not be recorded.
func (s *Store) recordBlob(ctx context.Context, b Blob, report func(Progress)) (err error) {
	tmp, err := os.MkdirTemp(s.dir, filepath.Base(s.layerDir(b.DiffID))+tmpMark)
	if err != nil {
		return DiskFault(subject(b), err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	record, err := os.Create(filepath.Join(tmp, recordName))
	if err != nil {
		return DiskFault(subject(b), err)
	}
	recorder := tarsplit.NewRecorder(record)
	err = copyArchive(ctx, b, report, recorder)
	split, rerr := recorder.Close()
	if rerr = errors.Join(rerr, record.Close()); err == nil && rerr != nil {
		err = DiskFault(subject(b), rerr)
	}
	if err == nil && split.Inexact != "" {
		split, err = recordRaw(ctx, b, tmp)
	}
	if err != nil {
		return err
	}

	if err := s.addRecord(tmp, b.DiffID, split); err != nil {
		return DiskFault(subject(b), err)
	}
	report(Progress{Phase: Done, Done: b.Size, Total: b.Size})

	return nil
}

func (s *Store) addRecord(tmp, diffID string, split tarsplit.Summary) error {
	return s.changeMeta(diffID, func(m *meta) error {
		m.TarSize, m.Inexact = split.Size, split.Inexact
		if err := syncFS(tmp); err != nil {
			return err
		}
		return os.Rename(filepath.Join(tmp, recordName), filepath.Join(s.layerDir(diffID), recordName))
	})
}

// changeMeta changes the layer.json of a layer.
func (s *Store) changeMeta(diffID string, change func(*meta) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := readMeta(s.layerDir(diffID))
	if err != nil {
		return err
	}
	if err := change(&m); err != nil {
		return err
	}
	return writeMeta(s.layerDir(diffID), m)
}

// recordRaw records the whole archive of a layer. It is for the rare archives that the unpacked
// files cannot reproduce, such as those with sparse files.
func recordRaw(ctx context.Context, b Blob, tmp string) (split tarsplit.Summary, err error) {
	record, err := os.Create(filepath.Join(tmp, recordName))
	if err != nil {
		return split, DiskFault(subject(b), err)
	}

	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(copyArchive(ctx, b, func(Progress) {}, pw)) }()
	split.Size, err = tarsplit.RecordRaw(&spareReader{in: pr, dir: tmp}, record)
	_ = pr.CloseWithError(io.ErrClosedPipe)
	if err = errors.Join(err, record.Close()); err != nil && isDisk(err) {
		err = DiskFault(subject(b), err)
	}

	return split, err
}

// copyArchive writes the uncompressed archive of a blob and verifies both digests.
func copyArchive(ctx context.Context, b Blob, report func(Progress), w io.Writer) error {
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()

	blob, sum := newBlobReader(rc, b, report), sha256.New()
	plain, err := unpack.Decompress(blob)
	if err != nil {
		return unpackFault(ctx, b, blob, err)
	}
	defer plain.Close()
	if _, err := io.Copy(&output{ctx: ctx, w: io.MultiWriter(w, sum)}, plain); err != nil {
		return unpackFault(ctx, b, blob, err)
	}
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return unpackFault(ctx, b, blob, err)
	}

	return blob.verifyAs(b.DiffID, "sha256:"+hex.EncodeToString(sum.Sum(nil)))
}

// spareReader fails with ENOSPC before the disk of a directory is full.
type spareReader struct {
	in  io.Reader
	dir string
	n   int
}

// spareEvery is the number of bytes between two checks of free disk space.
const spareEvery = 1 << 20

func (r *spareReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if r.n += n; r.n < spareEvery {
		return n, err
	}

	r.n = 0
	root, oerr := beneath.Open(r.dir)
	if oerr != nil {
		return 0, oerr
	}
	defer func() { _ = root.Close() }()
	if serr := root.Spare(); serr != nil {
		return 0, serr
	}

	return n, err
}
