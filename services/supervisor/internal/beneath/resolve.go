package beneath

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// OpenProcess opens the root directory of a process, in its mount namespace. Below it, mounts are as
// the process sees them.
func OpenProcess(pid int) (*Root, error) {
	name := fmt.Sprintf("/proc/%d/root", pid)
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &Root{fd: fd}, nil
}

// Resolve returns the absolute path of a file below the root, without symlinks. Components from the
// first missing one on stay as they are. The content can change later, so a call with the result still
// resolves below the root.
func (r *Root) Resolve(name string) (string, error) {
	at, todo := "/", components(name)
	for symlinks := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if next == "." || next == ".." {
			at = path.Join(at, next)
			continue
		}

		a, ok := r.Lookup(path.Join(at, next))
		if !ok || a.st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at = path.Join(at, next)
			continue
		}
		if symlinks++; symlinks > maxSymlinks {
			return "", &os.PathError{Op: "resolve", Path: name, Err: ErrLoop}
		}
		target, err := r.Readlink(path.Join(at, next))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = "/"
		}
		todo = append(components(target), todo...)
	}

	return at, nil
}

// IsReadOnly reports whether the directory is on a mount that is read-only.
func (r *Root) IsReadOnly() bool {
	var st unix.Statfs_t
	return unix.Fstatfs(r.fd, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// SameMount reports whether two directories are on the same mount.
func (r *Root) SameMount(other *Root) bool {
	var a, b unix.Statx_t
	return unix.Statx(r.fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &a) == nil &&
		unix.Statx(other.fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &b) == nil && a.Mnt_id == b.Mnt_id
}
