package layers

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"
)

const (
	whiteout    = ".wh."
	opaqueMark  = ".wh..wh..opq"
	opaqueXattr = "trusted.overlay.opaque"
)

// unpack fills a new folder from a tar archive, compressed or not, reads all of it to its end, and answers its digest. Nothing
// in the archive reaches anything outside of the folder, and none of it sets overlayfs's own attributes.
func unpack(ctx context.Context, in io.Reader, into string) (meta, string, error) {
	if err := os.Mkdir(into, 0o755); err != nil {
		return meta{}, "", err
	}
	if err := os.Chmod(into, 0o755); err != nil { // whatever the umask is
		return meta{}, "", err
	}
	plain, err := Decompress(in)
	if err != nil {
		return meta{}, "", err
	}
	defer plain.Close()
	sum := sha256.New()
	tee := io.TeeReader(plain, sum)
	w := &walk{root: into, dirs: map[string]bool{}, parents: map[string]bool{}}
	size, err := archive.Apply(ctx, into, tee, archive.WithFilter(w.see), archive.WithConvertWhiteout(w.convert))
	if err != nil {
		return meta{}, "", err
	}
	if err := w.finish(); err != nil {
		return meta{}, "", err
	}
	if _, err := io.Copy(io.Discard, reader{ctx, tee}); err != nil { // padding counts too
		return meta{}, "", err
	}
	if _, err := io.Copy(io.Discard, reader{ctx, in}); err != nil { // and so does what follows a compressed stream
		return meta{}, "", err
	}
	return meta{Size: size, Implied: w.implied()}, "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// walk watches the entries of an archive go by.
type walk struct {
	root    string
	dirs    map[string]bool // folders that have an entry
	parents map[string]bool // folders that entries are in
	whited  []string        // what is whited out
}

// see is asked about each entry before it is unpacked.
func (w *walk) see(h *tar.Header) (bool, error) {
	name := strings.TrimPrefix(filepath.Join("/", h.Name), "/")
	if h.Typeflag == tar.TypeDir {
		w.dirs[name] = true
	}
	for p := filepath.Dir(name); p != "." && !w.parents[p]; p = filepath.Dir(p) {
		w.parents[p] = true
	}
	return true, nil
}

// convert turns a whiteout of the archive into overlayfs's.
func (w *walk) convert(h *tar.Header, path string) (bool, error) {
	base := filepath.Base(path)
	if base == opaqueMark || !strings.HasPrefix(base, whiteout) {
		return archive.OverlayConvertWhiteout(h, path)
	}
	hidden := filepath.Join(filepath.Dir(path), base[len(whiteout):])
	w.whited = append(w.whited, hidden)
	if _, err := os.Lstat(hidden); err == nil {
		return false, nil // the layer has a file of that name too, which hides the one below by itself
	}
	return archive.OverlayConvertWhiteout(h, path)
}

// finish makes a folder that stands where the same layer has whited something out hide what is below it.
func (w *walk) finish() error {
	for _, path := range w.whited {
		if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
			if err := unix.Setxattr(path, opaqueXattr, []byte{'y'}, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// implied gives the folders without an entry, parents first.
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
