package beneath

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is the required type of a path.
type Kind int

// The types of a path.
const (
	Directory Kind = iota
	File           // any type but a directory or symlink; created as an empty regular file
)

const (
	directoryMode = 0o755
	fileMode      = 0o644
	maxSymlinks   = 40 // as in the kernel
)

// ErrKind is returned for an existing path of the wrong type.
var ErrKind = errors.New("a directory where a file is needed, or the reverse")

// ErrLoop is returned for a path with too many symlinks.
var ErrLoop error = unix.ELOOP

// EnsureReal ensures that a path exists without any symlink in it. It replaces a symlink, or
// another file where a directory is required. A directory where a file is required is an error. It
// must be used only while no process can change the root's content.
func (r *Root) EnsureReal(name string, kind Kind) error {
	if r.isReal(name, kind) {
		return nil
	}
	w := walk{root: r.fd, todo: components(name), kind: kind, replace: true}
	defer w.close()
	return w.run(name)
}

// Ensure ensures that a path exists and returns its absolute path below the root, without symlinks.
// Symlinks are resolved below the root; the target of a dangling one is created. Ensure stops at
// the directories in stop, which are mount points: it creates nothing in them and returns the rest
// of the path unchanged.
func (r *Root) Ensure(name string, kind Kind, stop ...string) (string, error) {
	if r.isReal(name, kind) {
		return path.Clean("/" + name), nil
	}
	w := walk{root: r.fd, todo: components(name), kind: kind, stop: stop}
	defer w.close()
	err := w.run(name)
	return path.Join("/", path.Join(w.names...)), err
}

// isReal reports whether a path exists with the given type and without symlinks. It is a fast check
// of the common case.
func (r *Root) isReal(name string, kind Kind) bool {
	var flags uint64
	if kind == Directory {
		flags = unix.O_DIRECTORY
	}

	fd, err := r.path(path.Clean("/"+name), flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if kind == Directory {
		return true
	}

	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

func components(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// walk resolves a path component by component. dirs are descriptors of the directories in names,
// without the root's.
type walk struct {
	root     int
	todo     []string
	names    []string
	dirs     []int
	kind     Kind
	replace  bool
	stop     []string
	symlinks int
}

func (w *walk) at() int {
	if len(w.dirs) == 0 {
		return w.root
	}
	return w.dirs[len(w.dirs)-1]
}

func (w *walk) close() {
	for _, fd := range w.dirs {
		_ = unix.Close(fd)
	}
}

func (w *walk) run(name string) error {
	for len(w.todo) > 0 {
		if slices.Contains(w.stop, path.Join("/", path.Join(w.names...))) {
			w.names, w.todo = append(w.names, w.todo...), nil
			return nil
		}
		next := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(next); err != nil {
			return &os.PathError{Op: "create", Path: name, Err: err}
		}
	}

	return nil
}

func (w *walk) step(next string) error {
	switch next {
	case ".":
		return nil
	case "..":
		w.pop()
		return nil
	}

	kind := Directory
	if len(w.todo) == 0 {
		kind = w.kind
	}

	var st unix.Stat_t
	err := unix.Fstatat(w.at(), next, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return w.create(next, kind)
	}
	if err != nil {
		return err
	}

	return w.existing(next, kind, st.Mode&unix.S_IFMT)
}

func (w *walk) pop() {
	if n := len(w.dirs); n > 0 {
		_ = unix.Close(w.dirs[n-1])
		w.dirs, w.names = w.dirs[:n-1], w.names[:n-1]
	}
}

// existing continues at an existing component.
func (w *walk) existing(next string, kind Kind, format uint32) error {
	isDir := format == unix.S_IFDIR
	switch {
	case format == unix.S_IFLNK && !w.replace:
		return w.follow(next)
	case isDir && kind == Directory:
		return w.enter(next)
	case isDir:
		return ErrKind
	case kind == File && (!w.replace || format == unix.S_IFREG):
		w.names = append(w.names, next)
		return nil
	case !w.replace:
		return ErrKind
	}

	if err := unix.Unlinkat(w.at(), next, 0); err != nil {
		return err
	}

	return w.create(next, kind)
}

func (w *walk) create(next string, kind Kind) error {
	if kind == Directory {
		if err := unix.Mkdirat(w.at(), next, directoryMode); err != nil {
			return err
		}
		if err := w.enter(next); err != nil {
			return err
		}
		return unix.Chmod(descriptor(w.at()), directoryMode) // independent of the umask
	}

	fd, err := unix.Openat(w.at(), next, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC,
		fileMode)
	if err != nil {
		return err
	}

	w.names = append(w.names, next)
	return errors.Join(unix.Fchmod(fd, fileMode), unix.Close(fd))
}

func (w *walk) enter(next string) error {
	fd, err := unix.Openat(w.at(), next, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.dirs, w.names = append(w.dirs, fd), append(w.names, next)
	return nil
}

// follow prepends a symlink's target to the rest of the path.
func (w *walk) follow(next string) error {
	if w.symlinks++; w.symlinks > maxSymlinks {
		return ErrLoop
	}

	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.at(), next, buf)
	if err != nil {
		return err
	}

	target := string(buf[:n])
	if path.IsAbs(target) {
		for len(w.dirs) > 0 {
			w.pop()
		}
	}

	w.todo = append(components(target), w.todo...)
	return nil
}
