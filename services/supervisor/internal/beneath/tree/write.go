// Package tree writes a directory tree with untrusted content as a tar archive, and unpacks one. It
// keeps owners, modes, times, extended attributes, hard links and device nodes. Packages volumes and
// files use it; layers of images belong to package unpack.
//
// Each file is opened by its name in an open directory, without following symlinks, so no path leaves
// the tree even while a process changes it. Devices, FIFOs and sockets are never opened.
package tree

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// maxDepth bounds the nesting of directories, each of which needs a descriptor.
const maxDepth = 512

// xattrRecord is the prefix of an extended attribute in a PAX header.
const xattrRecord = "SCHILY.xattr."

// Options change what Write archives.
type Options struct {
	Skip   func(name string) bool        // leaves out an entry, by its name in the archive
	Change func(h *tar.Header)           // changes a header before it is written
	Entry  func(h *tar.Header) (ok bool) // replaces an entry by its changed header; false keeps it

	Whiteouts bool // writes the whiteouts of an overlay's upper directory as those of an image layer
}

// Write archives a file or directory, which has no trailing slash and whose last component is not
// followed. Its entry is called name; entries below it are in name/. An empty name archives only what
// is in the directory. Write does not close w.
func Write(ctx context.Context, w *tar.Writer, root *beneath.Root, at, name string, o Options) error {
	dir, base := path.Split(path.Clean("/" + at))
	parent, err := root.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if base == "" {
		base = "."
	}
	t := writer{ctx: ctx, w: w, o: o, links: map[inode]string{}}
	return t.entry(parent.Descriptor(), base, name, 0)
}

type inode struct{ dev, ino uint64 }

type writer struct {
	ctx   context.Context
	w     *tar.Writer
	o     Options
	links map[inode]string // names of files with several links
}

// entry archives a file with everything below it. A file that was removed meanwhile is left out.
func (t *writer) entry(dir int, base, name string, depth int) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if name != "" && t.o.Skip != nil && t.o.Skip(name) {
		return nil
	}

	var st unix.Stat_t
	err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) && depth > 0 {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}

	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFDIR:
		return t.directory(dir, base, name, &st, depth)
	case unix.S_IFREG:
		return t.regular(dir, base, name, &st)
	}

	return t.special(dir, base, name, &st)
}

func (t *writer) directory(dir int, base, name string, st *unix.Stat_t, depth int) error {
	if depth > maxDepth {
		return &os.PathError{Op: "archive", Path: name, Err: unix.ENAMETOOLONG}
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if gone(err) && depth > 0 {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	d := os.NewFile(uintptr(fd), name)
	defer func() { _ = d.Close() }()

	if name != "" {
		h := headerOf(name+"/", tar.TypeDir, st)
		h.PAXRecords = xattrs(fd)
		if replaced, err := t.header(h); err != nil || replaced {
			return err
		}
		if t.o.Whiteouts && isOpaque(fd) {
			if _, err := t.header(whiteoutOf(name+"/"+opaqueMark, st)); err != nil {
				return err
			}
		}
	}

	names, err := d.Readdirnames(-1)
	if err != nil && !gone(err) {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		if err := t.entry(fd, n, strings.TrimPrefix(name+"/"+n, "/"), depth+1); err != nil {
			return err
		}
	}

	return nil
}

// gone reports whether a file was removed or replaced since it was listed.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, beneath.ErrNotRegular)
}

// header writes a header. replaced means that the entry has no content.
func (t *writer) header(h *tar.Header) (replaced bool, err error) {
	if t.o.Entry != nil {
		replaced = t.o.Entry(h)
	}
	if t.o.Change != nil {
		t.o.Change(h)
	}
	return replaced, t.w.WriteHeader(h)
}

func (t *writer) regular(dir int, base, name string, st *unix.Stat_t) error {
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := t.links[key]; ok {
			h := headerOf(name, tar.TypeLink, st)
			h.Linkname = first
			_, err := t.header(h)
			return err
		}
		t.links[key] = name
	}

	f, err := beneath.OpenRegular(dir, base)
	if gone(err) {
		delete(t.links, inode{st.Dev, st.Ino})
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fstat(int(f.Fd()), st); err != nil {
		return err
	}

	h := headerOf(name, tar.TypeReg, st)
	h.Size, h.PAXRecords = st.Size, xattrs(int(f.Fd()))
	if replaced, err := t.header(h); err != nil || replaced {
		return err
	}

	return t.content(f, h.Size)
}

// content writes exactly size bytes, even if the file has a different size meanwhile.
func (t *writer) content(f io.Reader, size int64) error {
	n, err := io.Copy(t.w, io.LimitReader(reader{t.ctx, f}, size))
	if err != nil || n == size {
		return err
	}
	_, err = io.Copy(t.w, io.LimitReader(reader{t.ctx, zeros{}}, size-n)) // it was truncated
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read returns the error of the context once it is done.
func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// special archives a symlink, a device node or a FIFO.
func (t *writer) special(dir int, base, name string, st *unix.Stat_t) error {
	if t.o.Whiteouts && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		up, last := path.Split(name)
		_, err := t.header(whiteoutOf(up+whiteoutMark+last, st))
		return err
	}
	kinds := map[uint32]byte{unix.S_IFLNK: tar.TypeSymlink, unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
		unix.S_IFIFO: tar.TypeFifo}
	h := headerOf(name, kinds[st.Mode&unix.S_IFMT], st)
	switch h.Typeflag {
	case tar.TypeSymlink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buf)
		if gone(err) || errors.Is(err, unix.EINVAL) {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "readlink", Path: name, Err: err}
		}
		h.Linkname = string(buf[:n])
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}

	_, err := t.header(h)
	return err
}

func headerOf(name string, kind byte, st *unix.Stat_t) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX}
}

// xattrs returns the extended attributes of an open file as PAX records, except those of overlayfs and
// POSIX ACLs that depend on the file system.
func xattrs(fd int) map[string]string {
	size, err := unix.Flistxattr(fd, nil)
	if err != nil || size <= 0 {
		return nil
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(fd, list); err != nil {
		return nil
	}

	var out map[string]string
	for name := range strings.SplitSeq(string(list[:size]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, nil)
		if err != nil {
			continue
		}
		value := make([]byte, n)
		if n, err = unix.Fgetxattr(fd, name, value); err != nil {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[xattrRecord+name] = string(value[:n])
	}

	return out
}
