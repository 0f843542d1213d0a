package beneath

import (
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Descriptor returns the O_PATH descriptor of the directory. It is valid until Close.
func (r *Root) Descriptor() int { return r.fd }

// Path returns a path to the directory for calls without a descriptor. It is valid in this process
// until Close.
func (r *Root) Path() string { return descriptor(r.fd) }

// OpenDir opens a directory below the root. Symlinks are resolved below the root.
func (r *Root) OpenDir(name string) (*Root, error) {
	fd, err := r.path(name, unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &Root{fd: fd}, nil
}

// OpenAny opens a file of any type below the root with O_PATH, which has no side effect. Symlinks are
// resolved below the root. The caller closes the descriptor.
func (r *Root) OpenAny(name string) (int, error) {
	fd, err := r.path(name, 0, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// Stat returns the attributes of a file. Symlinks in the path are resolved below the root; the last
// component is only resolved with follow.
func (r *Root) Stat(name string, follow bool) (a Attributes, err error) {
	var flags uint64
	if !follow {
		flags = unix.O_NOFOLLOW
	}
	fd, err := r.path(name, flags, unix.RESOLVE_IN_ROOT)
	if err == nil {
		err = unix.Fstat(fd, &a.st)
		_ = unix.Close(fd)
	}
	if err != nil {
		return a, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return a, nil
}

// Readlink returns the target of a symlink. Symlinks before the last component are resolved below the
// root.
func (r *Root) Readlink(name string) (string, error) {
	dir, base := path.Split(path.Clean("/" + name))
	parent, err := r.path(dir, unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(parent) }()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(parent, base, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// OpenRegular opens a regular file in an open directory for reading. It follows no symlink, and does
// not block.
func OpenRegular(dir int, name string) (*os.File, error) {
	at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &os.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	return reopen(at, name)
}

// Raw returns the attributes as the kernel reports them.
func (a Attributes) Raw() unix.Stat_t { return a.st }
