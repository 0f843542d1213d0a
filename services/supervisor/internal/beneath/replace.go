package beneath

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrMounted is returned for a mount, and for a directory with a mount, which are not removed.
var ErrMounted = errors.New("a file system is mounted there")

// maxNesting bounds the depth of a directory that RemoveIn checks for mounts.
const maxNesting = 512

// RemoveIn removes a file, or a directory with its content, from its parent. It fails with ErrMounted,
// before it removes anything, if that is a mount or contains one. The kernel refuses this only in the mount
// namespace of the mount. In another one, such as the agent's, it would remove the mount.
func RemoveIn(parent int, name string) error {
	if err := checkMounts(parent, name, 0); err != nil {
		return err
	}
	done, err := unlink(parent, name)
	if done || err != nil {
		return err
	}

	top, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r := remover{top: top}
	if err := errors.Join(r.run(), unix.Close(top)); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

// checkMounts returns ErrMounted if an entry of a directory is a mount or contains one.
func checkMounts(parent int, name string, depth int) error {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(parent, name, how)
	switch {
	case errors.Is(err, unix.EXDEV):
		return ErrMounted
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP): // removed, or a symlink
		return nil
	case err != nil:
		return err
	case depth > maxNesting:
		return errors.Join(unix.ENAMETOOLONG, unix.Close(fd))
	}
	defer func() { _ = unix.Close(fd) }()

	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	return eachEntry(dir, func(entry string) error { return checkMounts(dir, entry, depth+1) })
}

// eachEntry calls do with the name of each entry of a directory.
func eachEntry(dir int, do func(name string) error) error {
	for buf := make([]byte, 32<<10); ; {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
	}
}
