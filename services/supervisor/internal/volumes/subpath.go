package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// subpathPrefix starts the names of the mounts of subpaths, next to the directory of the data.
const subpathPrefix = ".subpath-"

// BindSubpath resolves a path below the directory of a volume or image, and binds it at a new place
// next to that directory, from which the OCI runtime mounts it. No process can replace it meanwhile.
// key distinguishes the mounts of one directory. unbind must be called once the runtime has mounted it.
func BindSubpath(dir, subpath, key string) (at string, unbind func() error, err error) {
	fd, file, err := openBelow(dir, subpath)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = unix.Close(fd) }()

	at = filepath.Join(filepath.Dir(dir), subpathPrefix+key)
	if err := removeSubpath(at); err != nil { // left by a crash
		return "", nil, err
	}
	if file {
		err = os.WriteFile(at, nil, 0o600)
	} else {
		err = os.Mkdir(at, 0o700)
	}
	if err == nil {
		err = unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), at, "", unix.MS_BIND|unix.MS_REC, "")
	}
	if err == nil { // so that it is unmounted here only
		err = unix.Mount("", at, "", unix.MS_PRIVATE|unix.MS_REC, "")
	}
	if err != nil {
		return "", nil, errors.Join(err, removeSubpath(at))
	}

	return at, func() error { return removeSubpath(at) }, nil
}

// IsFile reports whether a path below the directory of a volume or image is not a directory.
func IsFile(dir, subpath string) (bool, error) {
	fd, file, err := openBelow(dir, subpath)
	if err == nil {
		err = unix.Close(fd)
	}
	return file, err
}

func openBelow(dir, subpath string) (fd int, file bool, err error) {
	root, err := beneath.Open(dir)
	if err != nil {
		return -1, false, err
	}
	defer func() { _ = root.Close() }()
	if fd, err = root.OpenAny(subpath); err != nil {
		return -1, false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, false, errors.Join(err, unix.Close(fd))
	}
	return fd, st.Mode&unix.S_IFMT != unix.S_IFDIR, nil
}

// removeSubpath unmounts a subpath and removes its empty mount point. It never removes content.
func removeSubpath(at string) error {
	for {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // not mounted
		}
		if err != nil {
			return &os.PathError{Op: "unmount", Path: at, Err: err}
		}
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeSubpaths removes the subpaths of a volume that a crash left. The lock of the volume must be
// held, or no container be launched.
func (v *Volumes) removeSubpaths(name string) error {
	entries, err := os.ReadDir(v.dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), subpathPrefix) {
			err = errors.Join(err, removeSubpath(filepath.Join(v.dir(name), e.Name())))
		}
	}
	return err
}
