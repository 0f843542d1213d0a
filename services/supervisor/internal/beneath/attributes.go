package beneath

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Attributes are a file's owner, mode and times.
type Attributes struct{ st unix.Stat_t }

// IsDir reports whether the file is a directory.
func (a Attributes) IsDir() bool { return a.st.Mode&unix.S_IFMT == unix.S_IFDIR }

// Lookup returns the attributes of a file; ok is false if it does not exist. It follows no symlink,
// not even within the path.
func (r *Root) Lookup(name string) (a Attributes, ok bool) {
	dir, base := path.Split(path.Clean("/" + name))
	parent, err := r.path(dir, unix.O_DIRECTORY, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return Attributes{}, false
	}
	defer func() { _ = unix.Close(parent) }()
	if base == "" {
		return a, unix.Fstat(parent, &a.st) == nil
	}
	return a, unix.Fstatat(parent, base, &a.st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// SetDirAttributes sets owner, mode and times of a directory. It follows no symlink.
func (r *Root) SetDirAttributes(name string, a Attributes) error {
	return r.withDir(name, func(fd int) error {
		if err := unix.Fchown(fd, int(a.st.Uid), int(a.st.Gid)); err != nil {
			return err
		}
		if err := unix.Fchmod(fd, a.st.Mode&0o7777); err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, descriptor(fd), []unix.Timespec{a.st.Atim, a.st.Mtim}, 0)
	})
}

// SetDirXattr sets an extended attribute of a directory. It follows no symlink.
func (r *Root) SetDirXattr(name, attribute string, value []byte) error {
	return r.withDir(name, func(fd int) error { return unix.Fsetxattr(fd, attribute, value, 0) })
}

func (r *Root) withDir(name string, do func(fd int) error) error {
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(r.fd, relative(name), how)
	if err == nil {
		err = errors.Join(do(fd), unix.Close(fd))
	}
	if err != nil {
		return &os.PathError{Op: "set attributes", Path: name, Err: err}
	}
	return nil
}
