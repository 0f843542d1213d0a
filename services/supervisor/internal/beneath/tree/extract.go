package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// Errors of Extract.
var (
	// ErrOutside is returned for an entry outside of the directory.
	ErrOutside = errors.New("points outside of the destination")
	// ErrOverwrite is returned for an entry that must not replace what exists.
	ErrOverwrite = errors.New("cannot overwrite")
)

// Into changes how Extract unpacks.
type Into struct {
	Strict bool              // return ErrOverwrite for a directory in place of another file, and the reverse
	Owner  *[2]int           // user and group of all files; nil means those in the archive
	Change func(*tar.Header) // changes a header before it is used; may be nil
}

// Extract unpacks an archive into a directory. It reads the archive to its end. Entries and hard links
// that point outside are an error. Symlinks are created, and never followed.
func Extract(ctx context.Context, in io.Reader, dir *beneath.Root, o Into) error {
	raw := &rest{in: reader{ctx, in}}
	x := extractor{ctx: ctx, dir: dir, o: o, in: tar.NewReader(raw)}
	for n := 0; ; n++ {
		h, err := x.in.Next()
		if errors.Is(err, io.EOF) && raw.isCut() {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if n%spareEntries == 0 {
			if err := dir.Spare(); err != nil {
				return err
			}
		}
		if o.Change != nil {
			o.Change(h)
		}
		if err := x.entry(h); err != nil {
			return &os.PathError{Op: "unpack", Path: h.Name, Err: err}
		}
		if _, err := io.Copy(io.Discard, x.in); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		raw.header = false
	}

	if _, err := io.Copy(io.Discard, reader{ctx, in}); err != nil { // padding
		return err
	}
	return x.finish()
}

// rest notes what follows the content of an entry. The tar package takes the end within a header or its
// padding for the end of the archive.
type rest struct {
	in     io.Reader
	n      int64
	header bool // something but zeros has followed
}

const blockSize = 512

// Read reads from the archive.
func (r *rest) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.n += int64(n)
	r.header = r.header || len(bytes.Trim(p[:n], "\x00")) > 0
	return n, err
}

// isCut reports whether an archive that has ended ends within a header or a block.
func (r *rest) isCut() bool { return r.header || r.n%blockSize != 0 }

// The free space is checked after this many entries, and after this many bytes of a file.
const (
	spareEntries = 128
	spareBytes   = 16 << 20
)

type extractor struct {
	ctx  context.Context
	dir  *beneath.Root
	in   *tar.Reader
	o    Into
	dirs []*tar.Header // their times are set last
}

// within returns a name relative to the directory.
func within(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return "", ErrOutside
	}
	return clean, nil
}

func (x *extractor) entry(h *tar.Header) error {
	name, err := within(h.Name)
	if err != nil {
		return err
	}
	h.Name = name
	if x.o.Owner != nil {
		h.Uid, h.Gid = x.o.Owner[0], x.o.Owner[1]
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}

	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return ErrOverwrite
		}
		x.dirs = append(x.dirs, h)
		return nil
	}

	parent, err := x.parent(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(parent) }()
	if err := x.clear(parent, path.Base(name), h.Typeflag == tar.TypeDir); err != nil {
		return err
	}

	return x.create(parent, path.Base(name), h)
}

// below resolves a directory without following symlinks.
func (x *extractor) below(name string) (int, error) {
	return unix.Openat2(x.dir.Descriptor(), name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
}

// parent opens a directory of the archive, and creates it if it is missing.
func (x *extractor) parent(name string) (int, error) {
	fd, err := x.below(name)
	if !errors.Is(err, unix.ENOENT) {
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			err = ErrOverwrite
		}
		return fd, err
	}
	up, err := x.parent(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(up) }()
	if err := unix.Mkdirat(up, path.Base(name), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return unix.Openat(up, path.Base(name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// clear removes what an entry replaces. A directory stays for a directory.
func (x *extractor) clear(parent int, base string, isDir bool) error {
	var st unix.Stat_t
	err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}

	was := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case was && isDir:
		return nil
	case was != isDir && x.o.Strict:
		if was {
			return fmt.Errorf("%w directory with non-directory", ErrOverwrite)
		}
		return fmt.Errorf("%w non-directory with directory", ErrOverwrite)
	}

	return beneath.RemoveIn(parent, base)
}

func (x *extractor) create(parent int, base string, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(parent, base, uint32(h.Mode&0o777)); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		x.dirs = append(x.dirs, h)
		return x.attributes(parent, base, h)
	case tar.TypeReg:
		return x.file(parent, base, h)
	case tar.TypeLink:
		return x.link(parent, base, h)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, parent, base); err != nil {
			return err
		}
		return errors.Join(unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW),
			setTimes(parent, base, h.ModTime))
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.node(parent, base, h)
	}
	return fmt.Errorf("entries of type %q are not supported", h.Typeflag)
}

func (x *extractor) node(parent int, base string, h *tar.Header) error {
	kinds := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}
	dev := 0
	if h.Typeflag != tar.TypeFifo {
		dev = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	if err := unix.Mknodat(parent, base, kinds[h.Typeflag]|uint32(h.Mode&0o777), dev); err != nil {
		return err
	}
	return x.attributes(parent, base, h)
}

// link creates a hard link to an earlier entry.
func (x *extractor) link(parent int, base string, h *tar.Header) error {
	target, err := within(h.Linkname)
	if err != nil {
		return err
	}
	from, err := x.below(path.Dir(target))
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(from) }()
	return unix.Linkat(from, path.Base(target), parent, base, 0)
}

func (x *extractor) file(parent int, base string, h *tar.Header) error {
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), h.Name)
	err = x.content(f, h.Size)
	if err == nil {
		err = owned(fd, h)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return setTimes(parent, base, h.ModTime)
	}
	return errors.Join(err, unix.Unlinkat(parent, base, 0))
}

// content writes a file, with holes where it has zeros.
func (x *extractor) content(f *os.File, size int64) error {
	buf, zero, done := make([]byte, 64<<10), make([]byte, 64<<10), int64(0)
	for next := int64(spareBytes); ; {
		n, err := io.ReadFull(x.in, buf)
		if n == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return f.Truncate(size)
		}
		if bytes.Equal(buf[:n], zero[:n]) {
			_, serr := f.Seek(int64(n), io.SeekCurrent)
			if serr != nil {
				return serr
			}
		} else if _, werr := f.Write(buf[:n]); werr != nil {
			return werr
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if done += int64(n); done >= next {
			next = done + spareBytes
			if err := x.dir.Spare(); err != nil {
				return err
			}
		}
		if err != nil && done < size {
			return io.ErrUnexpectedEOF
		}
	}
}

// owned sets owner, extended attributes and mode of an open file. A change of the owner resets the
// set-user-ID bit and capabilities.
func owned(fd int, h *tar.Header) error {
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return err
	}
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok {
			continue
		}
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) &&
			!errors.Is(err, unix.EPERM) {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return unix.Fchmod(fd, uint32(h.Mode&0o7777))
}

// attributes sets owner, mode and extended attributes of a directory, device node or FIFO, which is
// not opened.
func (x *extractor) attributes(parent int, base string, h *tar.Header) error {
	if h.Typeflag == tar.TypeDir {
		fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(owned(fd, h), unix.Close(fd))
	}

	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	at := fmt.Sprintf("/proc/self/fd/%d", fd)
	return errors.Join(unix.Fchownat(fd, "", h.Uid, h.Gid, unix.AT_EMPTY_PATH),
		unix.Fchmodat(unix.AT_FDCWD, at, uint32(h.Mode&0o7777), 0), setTimes(parent, base, h.ModTime))
}

func setTimes(parent int, base string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	t := unix.NsecToTimespec(at.UnixNano())
	err := unix.UtimesNanoAt(parent, base, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
	return err
}

// finish sets attributes of the directory itself and the times of directories, which their entries
// have changed.
func (x *extractor) finish() error {
	for i := len(x.dirs) - 1; i >= 0; i-- {
		h := x.dirs[i]
		fd, err := x.below(h.Name)
		if err != nil {
			continue // a later entry replaced it
		}
		at := fmt.Sprintf("/proc/self/fd/%d", fd)
		if h.Name == "." {
			if d, oerr := unix.Open(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); oerr == nil {
				err = errors.Join(owned(d, h), unix.Close(d))
			}
		}
		if !h.ModTime.IsZero() {
			t := unix.NsecToTimespec(h.ModTime.UnixNano())
			err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{t, t}, 0))
		}
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return &os.PathError{Op: "set attributes", Path: h.Name, Err: err}
		}
	}
	return nil
}
