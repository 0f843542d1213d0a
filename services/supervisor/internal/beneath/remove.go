package beneath

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Remove removes a directory with its content at any depth. A container chooses the depth, and
// os.RemoveAll needs a descriptor for each level, so nested directories are first moved to the top.
// Remove does nothing if the directory does not exist. The path is trusted; symlinks in the
// directory are not followed.
func Remove(path string) error {
	top, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}

	if err == nil {
		r := remover{top: top}
		err = errors.Join(r.run(), unix.Close(top))
	}

	if err == nil {
		err = unix.Rmdir(path)
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: filepath.Clean(path), Err: err}
	}

	return nil
}

// remover empties a directory.
type remover struct {
	top   int
	moved int
}

func (r *remover) run() error {
	for {
		names, err := entries(r.top)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := r.remove(name); err != nil {
				return err
			}
		}
	}
}

// remove removes an entry of the top directory. It moves non-empty subdirectories to the top.
func (r *remover) remove(name string) error {
	done, err := unlink(r.top, name)
	if done || err != nil {
		return err
	}

	dir, err := unix.Openat(r.top, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	for {
		names, err := entries(dir)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return unix.Unlinkat(r.top, name, unix.AT_REMOVEDIR)
		}
		for _, inner := range names {
			if err := r.lift(dir, inner); err != nil {
				return err
			}
		}
	}
}

// lift removes an entry of a directory, or moves it to the top under a unique name.
func (r *remover) lift(dir int, name string) error {
	done, err := unlink(dir, name)
	for !done && err == nil {
		r.moved++
		err = unix.Renameat2(dir, name, r.top, ".removed-"+strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
	}

	return err
}

// unlink removes a file or an empty directory; done is false for a directory that is not empty.
func unlink(dir int, name string) (done bool, err error) {
	err = unix.Unlinkat(dir, name, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
		derr := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		if !errors.Is(derr, unix.ENOTDIR) {
			err = derr
		}
	}

	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return false, nil
	}

	return false, err
}

// entries returns the names of some entries of a directory; none if it is empty.
func entries(dir int) ([]string, error) {
	if _, err := unix.Seek(dir, 0, 0); err != nil {
		return nil, err
	}

	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return nil, err
		}
		if _, _, names := unix.ParseDirent(buf[:n], -1, nil); len(names) > 0 {
			return names, nil
		}
	}
}
