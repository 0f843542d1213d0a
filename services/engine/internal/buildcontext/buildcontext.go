// Package buildcontext holds the files of a build that a client sends as an archive. The archive is kept
// in a temporary file as it is: nothing is unpacked, so its names and links reach no file of the host.
// BuildKit reads the files through FS.
package buildcontext

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/fairlead/fairlead/proto/fault"
)

// Context is the files of a build. It implements fsutil.FS.
type Context struct {
	file    *os.File
	entries []*entry // parents before their children, in the order of BuildKit
	byPath  map[string]*entry
}

// entry is a file.
type entry struct {
	stat   *types.Stat
	offset int64 // of the content in the archive
}

// limit of files, as each is in memory.
const maxFiles = 2_000_000

// Read reads an archive, which can be compressed.
func Read(in io.Reader) (*Context, error) {
	plain, err := decompress(in)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	file, err := os.CreateTemp("", "fairlead-build-")
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "build context", "cannot be stored")
	}
	_ = os.Remove(file.Name()) // it is deleted when it is closed

	c := &Context{file: file, byPath: map[string]*entry{}}
	if _, err = io.Copy(file, plain); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = c.index()
	}
	if err != nil {
		return nil, errors.Join(contextFault(err), file.Close())
	}
	return c, nil
}

// contextFault returns the fault of a broken archive.
func contextFault(err error) error {
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return fault.New(fault.Invalid, "build context", "is not a tar archive", fault.WithCause(err))
}

// decompress returns the archive without its compression. Close does not close in.
func decompress(in io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReader(in)
	magic, _ := buffered.Peek(6) // a short archive is not compressed
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		r, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, contextFault(err)
		}
		return r, nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(buffered)), nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		r, err := zstd.NewReader(buffered)
		if err != nil {
			return nil, contextFault(err)
		}
		return r.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ")):
		return nil, fault.New(fault.Invalid, "build context", "is compressed with xz, which is not supported",
			fault.WithHint("send it uncompressed, or with gzip, bzip2 or zstd"))
	}
	return io.NopCloser(buffered), nil
}

// index reads the headers of the archive.
func (c *Context) index() error {
	counted := &counter{r: bufio.NewReaderSize(c.file, 1<<20)}
	archive := tar.NewReader(counted)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(c.byPath) >= maxFiles {
			return fmt.Errorf("it has more than %d files", maxFiles)
		}
		if err := c.add(h, counted.n); err != nil {
			return err
		}
	}

	for _, e := range c.byPath {
		c.entries = append(c.entries, e)
	}
	slices.SortFunc(c.entries, func(a, b *entry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return nil
}

// sortKey sorts the children of a directory right after it.
func sortKey(e *entry) string { return strings.ReplaceAll(e.stat.Path, "/", "\x00") }

// counter counts what is read. The tar reader reads headers and contents exactly.
type counter struct {
	r *bufio.Reader
	n int64
}

// Read reads and counts.
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// add adds a file. A later one with the same name replaces it.
func (c *Context) add(h *tar.Header, offset int64) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return nil // the context itself
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return errSparse(h.Name)
		}
	}
	stat := &types.Stat{Path: name, Mode: uint32(h.FileInfo().Mode()), Size: h.Size, ModTime: h.ModTime.UnixNano(),
		Linkname: h.Linkname, Devmajor: h.Devmajor, Devminor: h.Devminor}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink, tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
	case tar.TypeDir:
		stat.Size = 0
	case tar.TypeLink:
		target := c.byPath[strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")]
		if target == nil {
			return fmt.Errorf("%q is a link to a missing file", h.Name)
		}
		// A copy: a filter can exclude the file that it links to.
		linked := &types.Stat{Path: name, Mode: target.stat.Mode, Size: target.stat.Size,
			ModTime: target.stat.ModTime, Linkname: target.stat.Linkname}
		stat, offset = linked, target.offset
	case tar.TypeGNUSparse:
		return errSparse(h.Name)
	default:
		return nil // headers of the archive
	}
	c.addParents(name)
	c.byPath[name] = &entry{stat, offset}
	return nil
}

// errSparse is the error for a sparse file: the archive does not have its content in one piece.
func errSparse(name string) error {
	return fault.New(fault.Invalid, "build context", fmt.Sprintf("%q is stored as a sparse file", name),
		fault.WithHint("create the archive without the option --sparse of tar"))
}

// addParents adds the directories of a file that the archive does not have.
func (c *Context) addParents(name string) {
	for dir := path.Dir(name); dir != "." && c.byPath[dir] == nil; dir = path.Dir(dir) {
		c.byPath[dir] = &entry{stat: &types.Stat{Path: dir, Mode: uint32(fs.ModeDir | 0o755)}}
	}
}

// Walk calls f for each file below a directory.
func (c *Context) Walk(ctx context.Context, target string, f fs.WalkDirFunc) error {
	target = strings.TrimPrefix(path.Clean("/"+target), "/")
	skipped := ""
	for _, e := range c.entries {
		name := e.stat.Path
		if target != "" && name != target && !strings.HasPrefix(name, target+"/") ||
			skipped != "" && strings.HasPrefix(name, skipped+"/") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f(name, &fsutil.DirEntryInfo{Stat: e.stat.CloneVT()}, nil)
		switch {
		case errors.Is(err, fs.SkipAll):
			return nil
		case errors.Is(err, fs.SkipDir):
			if skipped = name; !fs.FileMode(e.stat.Mode).IsDir() {
				skipped = path.Dir(name)
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// Open opens a file.
func (c *Context) Open(name string) (io.ReadCloser, error) {
	e := c.byPath[strings.TrimPrefix(path.Clean("/"+name), "/")]
	if e == nil || !fs.FileMode(e.stat.Mode).IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(c.file, e.offset, e.stat.Size)), nil
}

// Close deletes the archive.
func (c *Context) Close() error { return c.file.Close() }
