// Package unpack unpacks the tar archive of a layer into an empty directory. The content of the
// archive is not trusted. Package layers calls this package; package files only decompresses by it.
//
// It runs with that directory as its root directory, so that no path in the archive leaves it, even
// if entries replace each other by symlinks. Devices are created as nodes and never opened.
package unpack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

const (
	whiteout    = ".wh."
	opaqueMark  = ".wh..wh..opq"
	opaqueXattr = "trusted.overlay.opaque"
)

// Layer describes an unpacked archive.
type Layer struct {
	DiffID  string   // digest of the uncompressed archive
	Size    int64    // bytes in files
	Implied []string // directories without an entry of their own, parents first
}

// Into reads an archive, compressed or not, to its end and unpacks it into an empty directory. It
// also writes the uncompressed archive to the given writers.
func Into(ctx context.Context, in io.Reader, dir string, also ...io.Writer) (*Layer, error) {
	plain, err := Decompress(in)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	root, err := beneath.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	sum := sha256.New()
	tee := io.TeeReader(&spare{in: plain, root: root}, io.MultiWriter(append(also, sum)...))
	w := &walk{spare: root.Spare, dirs: map[string]bool{}, parents: map[string]bool{}}
	// The jail has a thread of its own. Waking it for each small read takes longer than unpacking.
	large := bufio.NewReaderSize(tee, spareEvery)
	if err := beneath.Jail(dir, func() error { return w.apply(ctx, large) }); err != nil {
		return nil, err
	}

	if _, err := io.Copy(io.Discard, reader{ctx, tee}); err != nil { // the digest includes padding
		return nil, err
	}

	if _, err := io.Copy(io.Discard, reader{ctx, in}); err != nil { // the blob can continue after the compressed stream
		return nil, err
	}

	return &Layer{DiffID: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: w.size, Implied: w.implied()}, nil
}

// walk records the entries of an archive. Paths are those in the jail, where the layer's directory
// is "/".
type walk struct {
	root    *beneath.Root
	spare   func() error
	entries int
	size    int64
	dirs    map[string]bool // directories that have an entry
	parents map[string]bool // directories that entries are in
	whited  []string        // paths with a whiteout
}

// apply unpacks an archive. It runs in the jail.
func (w *walk) apply(ctx context.Context, in io.Reader) (err error) {
	if w.root, err = beneath.Open("/"); err != nil {
		return err
	}
	defer func() { _ = w.root.Close() }()
	w.size, err = archive.Apply(ctx, "/", in, archive.WithFilter(w.visit), archive.WithConvertWhiteout(w.convert))
	if err != nil {
		return err
	}
	return w.finish()
}

// visit is called for each entry before it is unpacked.
func (w *walk) visit(h *tar.Header) (bool, error) {
	if w.entries++; w.entries%spareEntries == 0 {
		if err := w.spare(); err != nil {
			return false, err
		}
	}

	name := strings.TrimPrefix(path.Join("/", h.Name), "/")
	if h.Typeflag == tar.TypeDir {
		w.dirs[name] = true
	}

	for p := path.Dir(name); p != "." && !w.parents[p]; p = path.Dir(p) {
		w.parents[p] = true
	}

	return true, nil
}

// convert converts a whiteout of the archive to one of overlayfs.
func (w *walk) convert(h *tar.Header, at string) (bool, error) {
	base := path.Base(at)
	if base == opaqueMark || !strings.HasPrefix(base, whiteout) {
		return archive.OverlayConvertWhiteout(h, at)
	}
	hidden := path.Join(path.Dir(at), base[len(whiteout):])
	w.whited = append(w.whited, hidden)
	if _, ok := w.root.Lookup(hidden); ok {
		return false, nil // the layer has a file with this name, which hides the lower one
	}
	return archive.OverlayConvertWhiteout(h, at)
}

// finish makes a directory opaque if the same layer has a whiteout for it. It does nothing if a
// later entry has replaced the directory, or one of its parents, by a symlink.
func (w *walk) finish() error {
	for _, hidden := range w.whited {
		if a, ok := w.root.Lookup(hidden); ok && a.IsDir() {
			if err := w.root.SetDirXattr(hidden, opaqueXattr, []byte{'y'}); err != nil {
				return err
			}
		}
	}
	return nil
}

// implied returns the directories without an entry, parents first.
func (w *walk) implied() []string {
	var out []string
	for p := range w.parents {
		if !w.dirs[p] {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// Intervals between two checks of free disk space.
const (
	spareEntries = 64
	spareEvery   = 256 << 10 // bytes
)

// spare fails when free disk space falls below the reserve for the stores and containers.
type spare struct {
	in   io.Reader
	root *beneath.Root
	read int
}

func (s *spare) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if s.read += n; s.read >= spareEvery {
		s.read = 0
		if err := s.root.Spare(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// reader fails when its context is done.
type reader struct {
	ctx context.Context
	in  io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}
