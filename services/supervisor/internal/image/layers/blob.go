package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
)

// blobReader reads a blob and reports progress. It hashes a blob whose digest is verified: that of an
// archive is its diff ID, which package unpack computes. It records read errors, because the decoders
// above it hide them.
type blobReader struct {
	in     io.Reader
	blob   Blob
	sum    hash.Hash // nil if the digest is not verified
	n      int64
	err    error
	report func(Progress)
}

func newBlobReader(in io.Reader, b Blob, report func(Progress)) *blobReader {
	r := &blobReader{in: in, blob: b, report: report}
	if b.Digest != "" {
		r.sum = sha256.New()
	}
	return r
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	r.n += int64(n)
	if n > 0 {
		r.report(Progress{Phase: Downloading, Done: r.n, Total: r.total()})
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *blobReader) total() int64 { return max(r.n, r.blob.Size) }

func (r *blobReader) digest() string { return "sha256:" + hex.EncodeToString(r.sum.Sum(nil)) }

// verify compares a completely read blob with its size and digest.
func (r *blobReader) verify() error {
	switch {
	case r.blob.Size > 0 && r.n < r.blob.Size:
		return &truncatedError{fault.New(fault.Invalid, subject(r.blob),
			fmt.Sprintf("ends after %d of %d bytes", r.n, r.blob.Size))}
	case r.blob.Size > 0 && r.n > r.blob.Size:
		return fault.New(fault.Invalid, subject(r.blob),
			fmt.Sprintf("is longer than the expected %d bytes", r.blob.Size))
	case r.blob.Digest != "" && r.digest() != r.blob.Digest:
		return fault.New(fault.Invalid, subject(r.blob),
			"has the wrong digest "+r.digest())
	}
	return nil
}

// verifyAs is like verify. It also compares the diff IDs of the image and of the archive.
func (r *blobReader) verifyAs(want, got string) error {
	if err := r.verify(); err != nil || got == want {
		return err
	}
	return fault.New(fault.Invalid, subject(r.blob),
		"archive has the digest "+got+", but the image requires "+want)
}

// truncatedError is a truncated download, which is retried.
type truncatedError struct{ *fault.Fault }

func (b *truncatedError) Unwrap() error { return b.Fault }

func subject(b Blob) string {
	d := b.Digest
	if d == "" {
		d = b.DiffID
	}
	if d == "" {
		return "archive"
	}
	return "layer " + Short(d)
}

// Short returns the short form of a digest.
func Short(digest string) string {
	_, hexa, _ := strings.Cut(digest, ":")
	return hexa[:min(12, len(hexa))]
}

// unpackFault returns the fault for a failure while unpacking a blob. The cause is the download,
// the disk or the content.
func unpackFault(ctx context.Context, b Blob, r *blobReader, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if isDisk(err) {
		return DiskFault(subject(b), err)
	}
	if r.err != nil {
		return r.readFault(b)
	}

	// The decoder failed. A wrong size or digest of the blob is the better reason.
	if _, derr := io.Copy(io.Discard, r); derr == nil {
		if verr := r.verify(); verr != nil {
			return verr
		}
	} else if ctx.Err() != nil {
		return ctx.Err()
	} else {
		return r.readFault(b)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, subject(b), "archive is truncated")
	}

	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}

	return fault.New(fault.Invalid, subject(b), "cannot be unpacked", fault.WithCause(err))
}

// readFault returns the fault for a failed reader. Registry clients also verify digests and return
// a wrong one as a read error.
func (r *blobReader) readFault(b Blob) error {
	if f, ok := errors.AsType[*fault.Fault](r.err); ok {
		return f
	}
	if b.Size > 0 && r.n >= b.Size {
		if err := r.verify(); err != nil {
			return err
		}
	}

	what := "download was interrupted"
	if b.Size > 0 {
		what = fmt.Sprintf("download was interrupted after %d of %d bytes", r.n, b.Size)
	}

	return &truncatedError{fault.New(fault.Unavailable, subject(b), what, fault.WithCause(r.err))}
}

func isDisk(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE,
		syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// DiskFault returns the fault for a failure to store subject.
func DiskFault(subject string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Exhausted, subject, "no space left on the disk", fault.WithCause(err),
			fault.WithHint("remove images with `fairlead rmi`, or free space on the disk of --data-root"))
	}
	return fault.New(fault.Unavailable, subject, "cannot be stored", fault.WithCause(err),
		fault.WithHint("check the disk of --data-root"))
}
