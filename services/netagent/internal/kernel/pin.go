package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
)

// Pin makes a file that keeps the namespace: a bind mount that outlives the thread and this process. It is the last thing to
// do with a namespace: what is pinned is finished. A file without a mount, left by a crash, is used; a pinned one is EBUSY.
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

// PinProcess pins the namespace that a process is in, in place of a pin that was lost.
func PinProcess(pid int, path string) error {
	from := fmt.Sprintf("/proc/%d/ns/net", pid)
	var its, ours unix.Stat_t
	if err := errors.Join(unix.Stat(from, &its), unix.Stat(threadNS, &ours)); err != nil {
		return fmt.Errorf("look at network namespace of process %d: %w", pid, err)
	}
	if its.Ino == ours.Ino {
		return fmt.Errorf("process %d is in the host's network namespace", pid)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("pin network namespace: %w", err)
	}
	_ = f.Close() // nothing was written
	if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin network namespace at %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Pinned tells whether a namespace is pinned at the path.
func Pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Unpin lets go of a namespace. It is gone as soon as no process is in it, with all its interfaces; the kernel does that in
// its own time. No error if there is nothing. Removing the file also ends its copies in other mount namespaces.
func Unpin(path string) error {
	if err := crashpoint.Before(crashpoint.Pin, "unmount"); err != nil {
		return fmt.Errorf("unpin network namespace at %s: %w", path, err)
	}
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // EINVAL: no mount, only a file
		return fmt.Errorf("unpin network namespace at %s: %w", path, err)
	}
	_ = crashpoint.After(crashpoint.Pin, "unmount")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin network namespace: %w", err)
	}
	return nil
}
