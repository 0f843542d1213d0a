// Package beneath opens, creates and inspects files below a directory with untrusted content. This
// is an image layer, or the root file system of a container whose processes can change it
// concurrently. All access to such directories goes through this package.
//
// The kernel resolves every path, or this package resolves it component by component, with the
// directory as its root. No symlink leaves it. A file is first opened with O_PATH, which has no
// side effect; only a regular file is then opened for reading. No call blocks on a FIFO, a device,
// a terminal or a lease.
package beneath

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is an open directory with untrusted content.
type Root struct{ fd int }

// ErrNotRegular is returned for a file that is not a regular one.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is returned for a file that is larger than the caller accepts.
var ErrTooLarge = errors.New("file too large")

// Open opens a directory. The path to it is trusted; a symlink as its last component is an error.
func Open(path string) (*Root, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Root{fd: fd}, nil
}

// Close closes the directory.
func (r *Root) Close() error { return unix.Close(r.fd) }

// attempts limits how often a path is resolved again after a concurrent rename.
const attempts = 16

// path opens a file with O_PATH, which has no side effect and cannot block.
func (r *Root) path(name string, flags, resolve uint64) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_NO_MAGICLINKS | resolve}
	for range attempts {
		fd, err := unix.Openat2(r.fd, relative(name), how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// relative returns a name without leading slashes; the root itself is ".".
func relative(name string) string {
	if name = strings.TrimLeft(name, "/"); name == "" {
		return "."
	}
	return name
}

// ReadFile returns the content of a regular file of at most limit bytes. Symlinks are resolved
// below the root.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.OpenFile(name, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit { // it has grown meanwhile
		err = &os.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}

	return data, err
}

// OpenFile opens a regular file of at most limit bytes for reading. Symlinks are resolved below the
// root.
func (r *Root) OpenFile(name string, limit int64) (*os.File, error) {
	at, err := r.path(name, 0, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(at) }()

	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if err := readable(st, limit); err != nil {
		return nil, &os.PathError{Op: "read", Path: name, Err: err}
	}

	return reopen(at, name)
}

func readable(st unix.Stat_t, limit int64) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return ErrNotRegular
	case st.Size > limit:
		return ErrTooLarge
	}
	return nil
}

// reopen opens a regular file for reading by its O_PATH descriptor. With O_NONBLOCK, a lease held
// by a container is an error.
func reopen(at int, name string) (*os.File, error) {
	fd, err := unix.Open(descriptor(at), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// descriptor returns a path to the file of a descriptor. It is for calls that do not accept O_PATH
// descriptors.
func descriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
