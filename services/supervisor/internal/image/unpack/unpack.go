// Package unpack applies a layer's tar archive, which its author chose byte by byte, to an empty directory.
//
// It runs with that directory as its root directory, so that no path in the archive leads to another one, whatever entries replace
// each other by symlinks. Devices are created as nodes and never opened.
package unpack

import (
	"archive/tar"
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

// Layer is what an archive contained.
type Layer struct {
	DiffID  string   // digest of the uncompressed archive
	Size    int64    // bytes in files
	Implied []string // directories without an entry of their own, parents first
}

// Into reads an archive, compressed or not, to its end and unpacks it into an empty directory.
func Into(ctx context.Context, in io.Reader, dir string) (*Layer, error) {
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
	tee := io.TeeReader(&spare{in: plain, root: root}, sum)
	w := &walk{spare: root.Spare, dirs: map[string]bool{}, parents: map[string]bool{}}
	if err := beneath.Jail(dir, func() error { return w.apply(ctx, tee) }); err != nil {
		return nil, err
	}

	if _, err := io.Copy(io.Discard, reader{ctx, tee}); err != nil { // padding counts too
		return nil, err
	}
	if _, err := io.Copy(io.Discard, reader{ctx, in}); err != nil { // and so does what follows a compressed stream
		return nil, err
	}
	return &Layer{DiffID: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: w.size, Implied: w.implied()}, nil
}

// walk watches the entries of an archive go by. Paths are as they are in the jail, where the layer's directory is "/".
type walk struct {
	root    *beneath.Root
	spare   func() error
	entries int
	size    int64
	dirs    map[string]bool // directories that have an entry
	parents map[string]bool // directories that entries are in
	whited  []string        // what is whited out
}

// apply unpacks an archive. It runs in the jail.
func (w *walk) apply(ctx context.Context, in io.Reader) (err error) {
	if w.root, err = beneath.Open("/"); err != nil {
		return err
	}
	defer func() { _ = w.root.Close() }()
	w.size, err = archive.Apply(ctx, "/", in, archive.WithFilter(w.see), archive.WithConvertWhiteout(w.convert))
	if err != nil {
		return err
	}
	return w.finish()
}

// see is called for each entry before it is unpacked.
func (w *walk) see(h *tar.Header) (bool, error) {
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

// convert turns a whiteout of the archive into overlayfs's.
func (w *walk) convert(h *tar.Header, at string) (bool, error) {
	base := path.Base(at)
	if base == opaqueMark || !strings.HasPrefix(base, whiteout) {
		return archive.OverlayConvertWhiteout(h, at)
	}
	hidden := path.Join(path.Dir(at), base[len(whiteout):])
	w.whited = append(w.whited, hidden)
	if _, ok := w.root.Lookup(hidden); ok {
		return false, nil // the layer has a file of that name too, which hides the one below by itself
	}
	return archive.OverlayConvertWhiteout(h, at)
}

// finish makes a directory where the same layer has whited something out hide what is below it. A later entry may have replaced the
// directory, or a parent of it, by a symlink: then there is nothing to hide there.
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

// How much of an archive is unpacked between two checks of what is free.
const (
	spareEntries = 64
	spareEvery   = 256 << 10 // bytes
)

// spare ends when the disk has no more room than it must keep free for the stores and for containers.
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

// reader ends when a context does.
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
