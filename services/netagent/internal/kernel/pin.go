package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
)

// Pin creates a bind mount that keeps the namespace after its thread and this process have exited.
// It is the last step of setting up a namespace: a pinned namespace is complete. It reuses a file
// without a mount, which a crash may have left, and returns EBUSY for a pinned one.
func (n *Namespace) Pin(path string) error {
	if Pinned(path) {
		return fmt.Errorf("pin network namespace at %s: %w", path, unix.EBUSY)
	}

	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("pin network namespace: %w", err)
	}

	_ = f.Close() // nothing was written
	if err := crashpoint.Before(crashpoint.Pin, "mount"); err != nil {
		return fmt.Errorf("pin network namespace at %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	defer func() { _ = crashpoint.After(crashpoint.Pin, "mount") }()
	if err := unix.Mount(threadNS, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin network namespace at %s: %w", path, errors.Join(err, os.Remove(path)))
	}

	return nil
}

// Pinned reports whether a namespace is pinned at a path.
func Pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Unpin removes the pin of a namespace. The kernel deletes the namespace and its interfaces
// asynchronously when no process is in it. Unpin does nothing if the path does not exist. Removing
// the file also removes copies of the mount in other mount namespaces.
func Unpin(path string) error {
	if err := crashpoint.Before(crashpoint.Pin, "unmount"); err != nil {
		return fmt.Errorf("unpin network namespace at %s: %w", path, err)
	}

	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // EINVAL: a file without a mount
		return fmt.Errorf("unpin network namespace at %s: %w", path, err)
	}

	_ = crashpoint.After(crashpoint.Pin, "unmount")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin network namespace: %w", err)
	}

	return nil
}
